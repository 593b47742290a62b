"""Several runs side by side: names that tell them apart, and what the page says of them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from hidlr.errors import InputError
from hidlr.reports import beside_plots
from hidlr.reports.agreement import agreement_sentence
from hidlr.reports.found import cost_share, steps_of
from hidlr.reports.load import RunData, number_in
from hidlr.reports.reasons import reasons_of
from hidlr.reports.series import final_rates, series_of
from hidlr.reports.tables import command_of, flat
from hidlr.reports.text import MISSING, count, duration, number, percent, printable
from hidlr.reports.views import Section, Table
from hidlr.reports.words import place_sentence

__all__ = ["MOST", "found_beside", "names_of", "sections_beside"]

MOST = 16
"""Runs that line styles can tell apart."""

_FINALS = 5


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart.

    Raises:
        InputError: a folder is named twice.

    Example:
        >>> names_of([Path("a/adamw"), Path("b/adamw"), Path("b/sgd")])
        ['a/adamw', 'b/adamw', 'sgd']
    """
    paths = [folder.resolve().parts for folder in folders]
    for path, folder in zip(paths, folders, strict=True):
        if paths.count(path) > 1:
            raise InputError(f"{folder} is named twice: name each run once")

    def end(path: tuple[str, ...]) -> str:
        for length in range(1, len(path)):
            if sum(other[-length:] == path[-length:] for other in paths) == 1:
                return "/".join(path[-length:])
        return "/".join(path)

    return [printable(end(path)) for path in paths]


def found_beside(runs: Mapping[str, RunData]) -> tuple[str, ...]:
    """The headline, in sentences: which run came first, which ended early, how far influence agrees."""
    sentences = [
        f"{name} diverged: the loss at step {count(data.result.diverged_at)} was not finite."
        for name, data in runs.items()
        if data.result is not None and data.result.diverged_at is not None
    ]
    metric, higher = _metric(runs)
    scores = {name: _final(data, metric) for name, data in runs.items()}
    usable = {name: score for name, score in scores.items() if math.isfinite(score)}
    if usable:
        best = (max if higher else min)(usable, key=usable.__getitem__)
        sentences.append(place_sentence(best, metric, usable, higher=higher))
    elif any(data.result is not None for data in runs.values()):
        sentences.append("The runs have no final metric in common.")
    differing = [row[0] for row in _differences(runs)]
    shown = ", ".join(differing[:6]) + (f" and {len(differing) - 6} more" if len(differing) > 6 else "")
    sentences.append(f"Their settings differ in {shown}." if differing else "Their settings are the same.")
    sentences.append(_agreement(runs))
    return tuple(filter(None, sentences))


def sections_beside(runs: Mapping[str, RunData]) -> tuple[Section | None, ...]:
    """The page's sections, in order."""
    return (
        _runs(runs),
        _settings(runs),
        beside_plots.training(runs),
        _rates(runs),
        _influence(runs),
        beside_plots.cost(runs),
        _refused(runs),
        _commands(runs),
    )


def _runs(runs: Mapping[str, RunData]) -> Section:
    metric, higher = _metric(runs)
    finals = {name: None for data in runs.values() if data.result for name in data.result.final}
    names = sorted(finals, key=lambda name: name != metric)[:_FINALS]
    scores = {run: _final(data, metric) for run, data in runs.items()}
    finite = [score for score in scores.values() if math.isfinite(score)]
    best = (max if higher else min)(finite) if len(set(finite)) > 1 else math.nan
    rows = []
    for run, data in runs.items():
        share = cost_share(data)
        rows.append(
            (
                run,
                *(_value(_final(data, name)) for name in names),
                count(steps_of(data)),
                _seconds(data),
                count(sum(record.forwards for record in data.records)),
                MISSING if share is None else percent(share),
            )
        )
    caption = "Forwards: passes spent on probes. Probing: their share of the time, in which training runs too."
    if metric:
        caption = f"{printable(metric)}: {'higher' if higher else 'lower'} is better. {caption}"
    table = Table(
        caption,
        ("run", *map(printable, names), "steps", "time", "forwards", "probing"),
        tuple(rows),
        marks=tuple("best" if score == best else "" for score in scores.values()),
    )
    return Section("runs", "Side by side", tables=(table,))


def _settings(runs: Mapping[str, RunData]) -> Section | None:
    rows = _differences(runs)
    if not rows:
        return None
    table = Table(
        "Settings, versions and hardware that are not the same in all runs.",
        ("setting", *runs),
        rows,
        texts=frozenset(range(len(runs) + 1)),
    )
    return Section("settings", "What differs", tables=(table,))


def _rates(runs: Mapping[str, RunData]) -> Section | None:
    series = {run: series_of(data.records) for run, data in runs.items()}
    rates = {run: final_rates(found) for run, found in series.items()}
    groups = list(dict.fromkeys(name for found in rates.values() for name in found))
    if not groups:
        return None
    table = _by_group("Rate (lr) of each group after the last probe, the schedule divided out.", groups, rates)
    plots = beside_plots.rates(series, rates, groups)
    return Section("rates", "Rates", tables=(table,), plots=plots)


def _influence(runs: Mapping[str, RunData]) -> Section | None:
    known = {name for data in runs.values() for name in data.influence.ppi}
    groups = [
        name for name in dict.fromkeys(name for data in runs.values() for name in data.influence.sizes) if name in known
    ]
    if not groups:
        return None
    found = {run: data.influence.ppi for run, data in runs.items()}
    caption = "Influence per parameter, b\u00b2 / (A d) (loss per parameter)."
    words = tuple(filter(None, [_agreement(runs)]))
    plots = beside_plots.influence(runs)
    return Section("influence", "Influence", words, tables=(_by_group(caption, groups, found),), plots=plots)


def _refused(runs: Mapping[str, RunData]) -> Section | None:
    rows = []
    for run, data in runs.items():
        reasons = reasons_of(data.records)
        accepted = sum(data.influence.measured.values())
        refused = sum(reason.count for reason in reasons)
        rows.append((run, printable(reasons[0].text) if reasons else MISSING, count(accepted), count(refused)))
    if not any(data.records for data in runs.values()):
        return None
    table = Table(
        "Measurements of a group, and why most of those refused were.",
        ("run", "most often", "accepted", "refused"),
        tuple(rows),
        texts=frozenset({0, 1}),
    )
    return Section("refused", "What was refused", tables=(table,))


def _commands(runs: Mapping[str, RunData]) -> Section | None:
    rows = tuple((run, printable(command)) for run, data in runs.items() if (command := command_of(data.run)))
    if not rows:
        return None
    table = Table("Each has a page of its own: hidlr report RUN.", ("run", "command"), rows, texts=frozenset({0, 1}))
    return Section("run", "How they were run", tables=(table,))


def _by_group(caption: str, groups: list[str], values: Mapping[str, Mapping[str, float]]) -> Table:
    rows = tuple((printable(group), *(number(found.get(group)) for found in values.values())) for group in groups)
    return Table(caption, ("group", *values), rows)


def _differences(runs: Mapping[str, RunData]) -> tuple[tuple[str, ...], ...]:
    told = []
    for data in runs.values():
        run = {key: value for key, value in data.run.items() if key not in ("argv", "started", "config")}
        config = data.run.get("config")
        told.append(dict(flat(config if isinstance(config, dict) else {})) | dict(flat(run)))
    keys = dict.fromkeys(key for entries in told for key in entries)
    rows = ((key, *(entries.get(key, MISSING) for entries in told)) for key in keys)
    return tuple(row for row in rows if len(set(row[1:])) > 1)


def _agreement(runs: Mapping[str, RunData]) -> str:
    return agreement_sentence([data.influence.ppi for data in runs.values()])


def _metric(runs: Mapping[str, RunData]) -> tuple[str, bool]:
    """What chooses between runs, if they agree on it, and whether higher is better."""
    found = {
        (data.result.metric_name, data.result.higher_is_better) for data in runs.values() if data.result is not None
    }
    return found.pop() if len(found) == 1 else ("", True)


def _final(data: RunData, name: str) -> float:
    return number_in(data.result.final.get(name)) if data.result is not None else math.nan


def _value(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.4g}"


def _seconds(data: RunData) -> str:
    known = [metric.seconds for metric in data.metrics if math.isfinite(metric.seconds)]
    return duration(known[-1]) if known else MISSING
