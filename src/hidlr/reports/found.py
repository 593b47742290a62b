"""The top of the page: what the run was and what it found."""

import math
from collections.abc import Mapping

from hidlr.reports.load import Result, RunData, number_in
from hidlr.reports.reasons import reasons_of
from hidlr.reports.text import count, number, plural, printable
from hidlr.reports.views import Tile
from hidlr.reports.words import (
    cost_sentence,
    influence_sentence,
    place_sentence,
    rates_sentence,
    refused_sentence,
)

__all__ = ["comparison_names", "cost_share", "found_of", "steps_of", "subtitle_of", "tiles_of", "title_of"]

_TILES = 8


def title_of(data: RunData) -> str:
    """The run in a few words: workload and optimizer, or else the folder's name."""
    config = data.run.get("config")
    settings = {**(config if isinstance(config, dict) else {}), **data.run}
    workload, optimizer = settings.get("workload"), settings.get("optimizer")
    if not workload:
        return printable(data.name)
    return printable(f"{workload} with {optimizer}" if optimizer else workload)


def subtitle_of(data: RunData) -> str:
    """Where the page's numbers come from."""
    steps = steps_of(data)
    parts = [f"run folder {printable(data.name)}"]
    if steps:
        parts.append(plural(steps, "step"))
    if data.records:
        parts.append(plural(len(data.records), "probe"))
        parts.append(plural(len(data.influence.sizes), "group"))
    return ", ".join(parts)


def steps_of(data: RunData) -> int:
    """How many steps there is a trace of."""
    last = [record.step for record in data.records[-1:]] + [metric.step for metric in data.metrics[-1:]]
    return max(last, default=-1) + 1


def found_of(data: RunData, rates: Mapping[str, float]) -> tuple[str, ...]:
    """The headline, in sentences."""
    sentences = []
    if data.result is not None:
        if data.result.diverged_at is not None:
            sentences.append(f"The run diverged: the loss at step {count(data.result.diverged_at)} was not finite.")
        sentences.append(_place(data.result))
    if not data.records:
        sentences.append(
            "No probe was recorded, so no rate was measured. A tuner probes when "
            "tuner.step(closure) is called after optimizer.step()."
        )
        return tuple(filter(None, sentences))
    measured = sum(
        group.accepted and group.slope is not None and group.curvature is not None
        for record in data.records
        for group in record.groups
    )
    forwards = sum(record.forwards for record in data.records)
    seconds = sum(record.seconds for record in data.records)
    reasons = {reason.text: reason.count for reason in reasons_of(data.records)}
    sentences += [
        rates_sentence(rates),
        influence_sentence(data.influence.ppi),
        cost_sentence(cost_share(data), forwards, seconds),
        refused_sentence(measured, reasons),
    ]
    return tuple(filter(None, sentences))


def cost_share(data: RunData) -> float | None:
    """The probes' share of the run's wall-clock; None where not recorded."""
    for metric in reversed(data.metrics):
        if math.isfinite(metric.probe_seconds) and math.isfinite(metric.seconds) and metric.seconds > 0:
            return metric.probe_seconds / metric.seconds
    return None


def tiles_of(result: Result | None) -> tuple[Tile, ...]:
    """Final metrics, the one that counts first."""
    if result is None:
        return ()
    names = sorted(result.final, key=lambda name: name != result.metric_name)
    tiles = []
    for name in names[:_TILES]:
        value = number_in(result.final[name])
        written = result.final[name] if math.isnan(value) else f"{value:.4g}"
        tiles.append(Tile(printable(name), printable(number(None) if written is None else written)))
    return tuple(tiles)


def comparison_names(result: Result) -> list[str]:
    """The name of each row of the comparison, told apart by number where one is used twice."""
    names: list[str] = []
    for row in result.comparison:
        name = printable(row.get("name", "unnamed"))
        names.append(name if name not in names else f"{name} (row {len(names) + 1})")
    return names


def _place(result: Result) -> str:
    names = comparison_names(result)
    own = next((n for n, row in zip(names, result.comparison, strict=True) if _is_own(n, row)), "")
    shown = own if own.lower().startswith("hidlr") else f"hidlr ({own})"
    values = {
        shown if name == own else name: number_in(row.get("metric"))
        for name, row in zip(names, result.comparison, strict=True)
    }
    return place_sentence(shown, result.metric_name, values, higher=result.higher_is_better)


def _is_own(name: str, row: Mapping[str, object]) -> bool:
    return name.lower().startswith("hidlr") or row.get("rate") == "auto"
