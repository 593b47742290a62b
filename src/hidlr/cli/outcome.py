"""The end of a run in words, as a table and as JSON."""

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from hidlr.reports.text import plural
from hidlr.training import Comparison, Result, Row
from hidlr.training.jsonlines import dump_json

__all__ = ["comparison_table", "grid_sentences", "headline", "outcome"]


def headline(result: Result) -> list[str]:
    """What was done, and what came of it."""
    config = result.config
    groups = plural(len(result.rates), "group")
    rate = f"a rate for each of {groups}" if config.rate == "auto" else f"rate {config.rate:g}"
    share = f", probes {result.probe_seconds / result.seconds:.1%} of it" if result.probe_seconds else ""
    return [
        f"{config.workload}, {config.optimizer}, {rate}: {result.steps} steps in {result.seconds:.1f} s{share}",
        "  ".join(f"{name} {value:.4g}" for name, value in result.final.items()),
    ]


def comparison_table(result: Result, comparison: Comparison) -> Table:
    """The run, and uniform rates in the grid's order."""
    caption = "One seed each, the same weights and batches: small differences are chance."
    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    table.add_column("rate")
    for title in (result.metric_name, result.test_name, _cost_name(result)):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for row in comparison.rows:
        remark = f"the grid's best {result.metric_name}" if row is comparison.best else ""
        if row.diverged_at is not None:
            remark = f"diverged at step {row.diverged_at}"
        table.add_row(row.name, f"{row.metric:.4g}", f"{row.test:.4g}", f"{_cost(result, row):.1f}", remark)
    return table


def grid_sentences(result: Result, comparison: Comparison) -> list[str]:
    """What the search cost beside what the run did, and whether it looked far enough."""
    own, grid, best = comparison.own, comparison.grid, comparison.best
    unit = _cost_name(result)
    cost = (
        f"The grid took {plural(len(grid), 'run')} and {sum(_cost(result, row) for row in grid):.1f} {unit}, "
        f"{own.name if own.rate == 'auto' else 'this'} one run and {_cost(result, own):.1f} {unit}."
    )
    rates = [row.rate for row in grid]
    if best.rate in (min(rates), max(rates)) and len(set(rates)) > 1:
        return [cost, f"Its best rate, {best.rate:g}, is at its edge: rates beyond may do better."]
    return [cost]


def _cost_name(result: Result) -> str:
    return "CPU seconds" if result.config.device == "cpu" else "seconds"


def _cost(result: Result, row: Row) -> float:
    """Processor time where there is no other processor: the runs of a grid share and crowd the machine."""
    return row.cpu_seconds if result.config.device == "cpu" else row.seconds


def outcome(result: Result, comparison: Comparison | None, page: Path | None) -> dict[str, Any]:
    """Plain data for `--json`, strict as JSON is: nan and infinities are strings."""
    data = {
        **result.to_dict(),
        **(comparison.to_dict() if comparison is not None else {}),
        "config": result.config.to_dict(),
        "run": str(result.path),
        "report": None if page is None else str(page),
        "problems": list(result.problems),
    }
    plain: dict[str, Any] = json.loads(dump_json(data))
    return plain
