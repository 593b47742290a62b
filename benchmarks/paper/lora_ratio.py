"""What becomes of LoRA's two matrices: the ratio of B's rate to A's that each rule ends with (LoRA+ fixes it at 16)."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.paper import figures
from benchmarks.paper.arms import Arm, Row, reported
from benchmarks.paper.experiment import QUICK, Experiment, Tier, Verdict, graded
from benchmarks.paper.lora import Lora
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.run import Result
from benchmarks.runner import Search
from hidlr.reports.theme import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LoraRatio"]


class LoraRatio(Experiment):
    """Does measuring recover B > A?"""

    name = "lora-ratio"
    title = "LoRA's B over A"
    claim = "Implied: Hessian-informed rates recover LoRA+'s finding that B wants a higher rate than A (16 times)."
    figure = "Ratio of the rate of B over that of A in each run."
    source = "lora"

    def searches(self, tier: Tier) -> Sequence[Search]:
        """The runs of LoRA on GLUE."""
        return Lora().searches(tier)

    def table(self, runs: Runs) -> str:
        """A row for each task and rule: the ratio by seed."""
        cells = []
        for row, arm, results in _found(runs):
            ratios = [_ratio(result) for result in results]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            heads = [f"{result['rates']['head'] / result['rates']['lora_A']:.2f}" for result in results]
            cells.append([row.label, arm.label, told, f"{_typical(ratios):.2f}", ", ".join(heads)])
        heads = ["task", "rule", "B / A by seed", "geometric mean", "head / A by seed"]
        return table(heads, cells, "Ratios of the tuned rates at the end of training, before the schedule's factor.")

    def judge(self, runs: Runs) -> Verdict:
        """B above A on every seed, and near 16 or not."""
        found = [
            (row, arm, [_ratio(r) for r in results]) for row, arm, results in _found(runs) if arm.method == "hidlr"
        ]
        if not found:
            return Verdict("not run", "no results yet")
        ratios = [ratio for _, _, own in found for ratio in own]
        above = sum(ratio > 1 for ratio in ratios)
        near = sum(8 <= ratio <= 32 for ratio in ratios)
        measured = (
            f"B's rate ends above A's in {above} of {len(ratios)} runs (median ratio {median(ratios):.2f}), within a "
            f"factor of 2 of LoRA+'s 16 in {near}"
        )
        return graded(near == len(ratios), above > len(ratios) / 2, measured)

    def draw(self, runs: Runs) -> "Figure | None":
        """A mark for each run."""
        found = _found(runs)
        if not found:
            return None
        figure, (axis,) = figures.grid(1, 1, height=40 * len(found) + 20, left=260)
        for place, (_, arm, results) in enumerate(found):
            color = PAPER.series[0] if arm.method == "hidlr" else PAPER.muted
            axis.plot([_ratio(result) for result in results], [place] * len(results), "o", color=color, ms=6)
        axis.axvline(1, color=PAPER.muted, lw=0.8)
        axis.axvline(16, color=PAPER.series[1], lw=0.8)
        axis.set_xscale("log")
        for formatted in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            formatted(lambda value, _: f"{value:g}")
        axis.set_yticks(range(len(found)), [f"{row.label}: {arm.label}" for row, arm, _ in found])
        axis.set_ylim(len(found) - 0.5, -0.5)
        figures.title(axis, "rate of B over rate of A; LoRA+ sets 16")
        return figure


def _found(runs: Runs) -> list[tuple[Row, Arm, list[Result]]]:
    from benchmarks.paper.registry import TIERS

    experiment = Lora()
    return [
        (row, arm, results)
        for row in experiment.rows(TIERS.get(runs.tier, QUICK))
        for arm in experiment.arms(row)
        if arm.method in ("hidlr", "paper") and arm.groups == "lora"
        if (results := [result for result in reported(row, arm, runs) if result["status"] == "ok"])
    ]


def _ratio(result: Result) -> float:
    return float(result["rates"]["lora_B"]) / float(result["rates"]["lora_A"])


def _typical(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
