"""Wall-clock and memory of every method of Table 1, beside its quality."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.paper import figures
from benchmarks.paper.arms import Arm, mean
from benchmarks.paper.experiment import QUICK, Experiment, Tier, Verdict, graded
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.paper.table1 import Table1
from benchmarks.run import Result
from benchmarks.runner import Search

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Cost"]

_ALLOWED = 0.15  # 10% within a third, which is what `overhead=0.1` promises


class Cost(Experiment):
    """What the paper does not report."""

    name = "cost"
    title = "Time and memory beside quality"
    claim = "The paper gives no wall-clock. Promised here: measuring takes about 10% of the time of training."
    figure = "Accuracy of each method, seconds of its runs with and without tuning, and the share of measuring."
    source = "table1"

    def searches(self, tier: Tier) -> Sequence[Search]:
        """The runs of Table 1."""
        return Table1().searches(tier)

    def table(self, runs: Runs) -> str:
        """A row for each method, over all tasks of the table."""
        found = _by_arm(runs)
        base = _step(found.get("linear", []))
        cells = []
        for label, results in found.items():
            tuned = next((len(arm.rates) for arm in _arms() if arm.label == label), 1)
            share = statistics.median(_share(result) for result in results)
            memory = statistics.median(result["peak_memory_mb"] or 0.0 for result in results)
            accuracy = mean(results, "test_accuracy", higher_is_better=True)
            cells.append(
                [
                    label, f"{1000 * _step(results):.1f} ms", f"{_step(results) / base:.2f}" if base else "",
                    f"{share:.1%}", f"{statistics.median(result['forwards'] for result in results):.0f}",
                    f"{memory:.0f} MiB", str(tuned if tuned > 1 else 0), f"{accuracy:.3f}",
                ]
            )  # fmt: skip
        heads = ["method", "a step", "over linear's", "of it measuring", "extra forwards a run", "peak memory"]
        heads += ["runs to tune it, each task", "test accuracy, mean of tasks"]
        note = (
            "Medians over all runs of the table, on a shared machine: times of methods were taken at different times, "
            "and differ by its load as well. The share that measuring takes is within a run, and does not. Memory is "
            "the process's, data and interpreter included. On quiet hardware: [scaling](../scaling.md)."
        )
        return table(heads, cells, note)

    def judge(self, runs: Runs) -> Verdict:
        """The share of time that ours spends on measuring."""
        shares = [_share(r) for label, results in _by_arm(runs).items() if label.startswith("hidlr") for r in results]
        if not shares:
            return Verdict("not run", "no results yet")
        typical = statistics.median(shares)
        measured = f"hidlr's probes take {typical:.1%} of a run (median; {min(shares):.1%} to {max(shares):.1%})"
        return graded(max(shares) <= _ALLOWED, typical <= _ALLOWED, measured)

    def draw(self, runs: Runs) -> "Figure | None":
        """Quality, and what it took."""
        found = _by_arm(runs)
        if not found:
            return None
        tuning = {arm.label: len(arm.rates) if len(arm.rates) > 1 else 0 for arm in _arms()}
        seconds = {label: statistics.median(result["seconds"] for result in own) for label, own in found.items()}
        panels = {
            "test accuracy, mean of tasks": {
                k: mean(v, "test_accuracy", higher_is_better=True) for k, v in found.items()
            },
            "seconds of a run": seconds,
            "seconds of a run and of those that tuned it": {k: v * (1 + tuning[k]) for k, v in seconds.items()},
            "share of the time that measuring takes": {k: statistics.median(map(_share, v)) for k, v in found.items()},
        }
        return figures.bars(
            [
                figures.Bars(
                    title, "", [figures.Bar(k, v, math.nan, ours=k.startswith("hidlr")) for k, v in values.items()]
                )
                for title, values in panels.items()
            ],
            columns=2,
        )


def _arms() -> Sequence[Arm]:
    experiment = Table1()
    return experiment.arms(experiment.rows(QUICK)[0])


def _by_arm(runs: Runs) -> dict[str, list[Result]]:
    from benchmarks.paper.registry import TIERS

    experiment = Table1()
    found: dict[str, list[Result]] = {}
    for row in experiment.rows(TIERS.get(runs.tier, QUICK)):
        for arm in experiment.arms(row):
            own = [result for result in experiment.found(row, arm, runs) if result["status"] == "ok"]
            found.setdefault(arm.label, []).extend(own)
    return {label: results for label, results in found.items() if results}


def _step(results: Sequence[Result]) -> float:
    return statistics.median(result["seconds"] / result["steps"] for result in results) if results else 0.0


def _share(result: Result) -> float:
    return float(result["probe_seconds"]) / float(result["seconds"])
