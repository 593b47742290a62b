"""The page's sections made of tables and bars."""

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hidlr.reports.found import comparison_names
from hidlr.reports.load import Result, RunData, number_in
from hidlr.reports.reasons import Reason, notes_of, reasons_of
from hidlr.reports.table import GroupRow, summary
from hidlr.reports.text import MISSING, count, number, plural, printable
from hidlr.reports.views import Bar, Section, Table

__all__ = ["command_of", "comparison", "flat", "groups", "how_it_was_run", "influence", "refused"]

_REASONS = 20
_TOP, _BOTTOM = 20, 5
_COLUMNS = {
    "name": "method",
    "metric": "",
    "loss": "loss",
    "rate": "rate",
    "warmup": "warm-up",
    "seconds": "seconds",
    "val_loss": "validation loss",
    "diverged_at": "diverged at step",
}
# Told by a mark beside the row's name.
_MARKED = "chosen"


def comparison(result: Result | None) -> Section | None:
    """The run beside others, if result.json has them."""
    if result is None or not result.comparison:
        return None
    told = {key: None for row in result.comparison for key in row if row[key] is not None}
    keys = ["name", *(key for key in _COLUMNS if key in told and key != "name")]
    keys += [key for key in told if key not in keys and key != _MARKED]
    metrics = [number_in(row.get("metric")) for row in result.comparison]
    finite = [value for value in metrics if math.isfinite(value)]
    best = (max if result.higher_is_better else min)(finite) if finite else math.nan
    rows = tuple(
        (name, *(_cell(key, row.get(key)) for key in keys[1:]))
        for name, row in zip(comparison_names(result), result.comparison, strict=True)
    )
    marks = tuple(
        ", ".join(["best"] * (value == best) + ["chosen"] * (row.get(_MARKED) is True))
        for value, row in zip(metrics, result.comparison, strict=True)
    )
    better = "higher" if result.higher_is_better else "lower"
    table = Table(
        caption=f"{printable(result.metric_name)}: {better} is better."
        + (" Chosen: the uniform rate that a search by hand would have kept." if _MARKED in told else ""),
        head=tuple(printable(_COLUMNS.get(key) or (result.metric_name if key == "metric" else key)) for key in keys),
        rows=rows,
        marks=marks,
    )
    return Section("comparison", "Compared with", tables=(table,))


def groups(data: RunData, rates: Mapping[str, float]) -> Section | None:
    """Every group in one table."""
    if not rates:
        return None
    table = summary(data.records, rates=rates, sizes=data.influence.sizes)
    return Section(
        "groups",
        "Groups",
        tables=(
            Table(
                caption=(
                    "Rates in units of lr: after the last probe, with the schedule divided out, and before the "
                    "first. Slope (loss / lr) and curvature (loss / lr\u00b2) are means over the accepted "
                    "measurements. PPI is b\u00b2 / (A d), with d the size."
                ),
                head=GroupRow.HEAD,
                rows=tuple(row.cells() for row in table.rows),
            ),
        ),
    )


def influence(data: RunData, styles: Mapping[str, int | None]) -> Section | None:
    """Per-parameter influence as bars, the highest first."""
    found = data.influence
    usable = {name: value for name, value in found.ppi.items() if math.isfinite(value) and value > 0}
    if not usable:
        return None
    ranked = sorted(usable, key=lambda name: -usable[name])
    shown = ranked if len(ranked) <= _TOP + _BOTTOM else ranked[:_TOP] + ranked[-_BOTTOM:]
    high = math.log10(usable[ranked[0]])
    # At least two decades, so that equals look equal; a little more, so that the lowest has a bar.
    low = min(math.log10(usable[ranked[-1]]), high - 2) - 0.1
    words = [
        "Per-parameter influence (PPI) is b\u00b2 / (A d): twice what the group alone can take off the loss, "
        "per parameter."
    ]
    if len(found.sizes) > len(usable):
        missing = plural(len(found.sizes) - len(usable), "group")
        words.append(f"{missing} without an accepted, convex measurement left out.")
    bars = tuple(
        Bar(
            name=printable(name),
            value=number(usable[name]),
            note=number(found.total.get(name)),
            length=100 * (math.log10(usable[name]) - low) / (high - low),
            style=styles.get(name),
        )
        for name in shown
    )
    caption = (
        f"Bars are logarithmic: none at {number(10**low)}, full length at {number(10**high)} (loss per parameter). "
        "Total: b\u00b2 / (2 A), what the group alone can take off the loss."
    )
    if len(shown) < len(ranked):
        caption += f" The {_TOP} highest and {_BOTTOM} lowest of {count(len(ranked))}; the table of groups has all."
    head = ("group", "PPI", "total")
    return Section("influence", "Influence", words=tuple(words), bars=bars, bars_caption=caption, bars_head=head)


def refused(data: RunData) -> Section | None:
    """What was refused and why."""
    tables = []
    for reasons, what, noun in (
        (reasons_of(data.records), "Measurements of a group that were not used.", "measurements"),
        (notes_of(data.records), "Probes after which no rate changed.", "probes"),
    ):
        if not reasons:
            continue
        rest = f" The {_REASONS} most frequent of {count(len(reasons))} reasons." if len(reasons) > _REASONS else ""
        tables.append(
            Table(
                caption=what + rest,
                head=("why", noun, *(("groups",) if noun == "measurements" else ()), "first step", "last step"),
                rows=tuple(_reason(reason, groups=noun == "measurements") for reason in reasons[:_REASONS]),
            )
        )
    if not data.records:
        return None
    words = () if tables else ("Nothing was refused.",)
    return Section("refused", "What was refused", words=words, tables=tuple(tables))


def how_it_was_run(data: RunData) -> Section | None:
    """run.json, for whoever wants to repeat the run."""
    run = dict(data.run)
    config = run.pop("config", None)
    command = command_of(run)
    run.pop("argv", None)
    around = ({"command": command} if command else {}) | run
    tables = tuple(
        Table("", ("name", "value"), rows, texts=frozenset({0, 1}), title=title)
        for title, rows in (
            ("Command, versions and machine", flat(around)),
            ("Settings", flat(config if isinstance(config, dict) else {})),
        )
        if rows
    )
    return Section("run", "How it was run", tables=tables) if tables else None


def _reason(reason: Reason, *, groups: bool) -> tuple[str, ...]:
    counts = (reason.count, *((reason.groups,) if groups else ()), reason.first, reason.last)
    return (printable(reason.text), *map(count, counts))


def command_of(run: Mapping[str, Any]) -> str:
    """The command line that started a run, as one would type it; "" where not known."""
    argv = run.get("argv")
    if not argv or not isinstance(argv, list):
        return str(argv or "")
    first, *rest = map(str, argv)
    # Where a program was installed is of no use elsewhere.
    name = Path(first).name
    module = name == "__main__.py"
    return shlex.join([Path(first).parent.name if module else name if name == "hidlr" else first, *rest])


def flat(values: Mapping[str, Any], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Settings within settings as rows of name and value."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = printable(f"{prefix}{key}")
        if isinstance(value, dict) and value:
            rows += flat(value, f"{name} ")
        else:
            rows.append((name, _cell(key, value) if isinstance(value, str) or value is None else _plain(value)))
    return tuple(rows)


def _plain(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return printable(", ".join(value)) or MISSING
    return printable(json.dumps(value, ensure_ascii=False))


def _cell(key: str, value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    if key == "rate":
        return number(value)
    if key == "seconds":
        return f"{value:,.1f}"
    return f"{value:.4g}"
