"""Neural additive models, a group for each feature: the error, and the learned shapes beside the true ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from benchmarks.paper import figures
from benchmarks.paper.arms import Arm, Row, gen, mean, ours, peer, reported, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier, Verdict
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.paper.workloads.shapes import POINTS, ShapesOfHousing, ShapesOfSynthetic
from benchmarks.workloads.nam import SHAPES
from hidlr.reports.theme import PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Nam"]

_RATES = (3e-3, 1e-2, 3e-2)
_ARMS = (
    uniform("constant", _RATES, "constant", groups="all"),
    uniform("linear", _RATES, "linear", groups="all"),
    uniform("cosine", _RATES, "cosine", groups="all"),
    gen(),
    peer("prodigy", "Prodigy"),
    peer("dadapt", "D-Adaptation"),
    ours("hidlr a group per feature", "feature"),
)


class Nam(MethodComparison):
    """The paper's interpretable regression."""

    name = "nam"
    title = "Neural additive models"
    claim = "With K + 1 groups (a network per feature, and the bias) Hi-DLR converges faster and to a lower error."
    figure = "The ten true functions and what was learned of each, by ours and by a linear schedule."
    wanted = 1.0

    def rows(self, tier: Tier) -> Sequence[Row]:
        """The paper's two: synthetic functions and California housing."""
        steps = tier.steps(100, 600)
        return [
            Row("shapes-synthetic", "synthetic", ShapesOfSynthetic, steps),
            Row("shapes-housing", "California housing", ShapesOfHousing, steps),
        ]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Schedules, methods that set their own rate, and ours."""
        del row
        return _ARMS

    def table(self, runs: Runs) -> str:
        """The comparison, then how far learned shapes are from the truth."""
        rows = [row for row in self._rows(runs) if row.workload == "shapes-synthetic"]
        cells = [
            [arm.label, *(f"{mean(found, f'shape_error.{name}', higher_is_better=False):.3g}" for name in SHAPES)]
            for row in rows
            for arm in self.arms(row)
            if (found := reported(row, arm, runs))
        ]
        note = "Mean squared distance of the learned function from the true one over (-1, 1), both less their means."
        return f"{super().table(runs)}\n\n{table(['synthetic: shape of', *SHAPES], cells, note)}"

    def judge(self, runs: Runs) -> Verdict:
        """The contest of errors, and the error of shapes beside it."""
        verdict = super().judge(runs)
        rows = [row for row in self._rows(runs) if row.workload == "shapes-synthetic"]
        if not rows:
            return verdict
        found = {arm.label: reported(rows[0], arm, runs) for arm in _ARMS}
        errors = {label: mean(own, "shape_error", higher_is_better=False) for label, own in found.items() if own}
        own = errors.pop(_ARMS[-1].label, float("nan"))
        best = min(errors, key=lambda label: errors[label]) if errors else ""
        told = f"{verdict.measured}; error of the synthetic shapes {own:.3g}" + (
            f", the best baseline's ({best}) {errors[best]:.3g}" if best else ""
        )
        return Verdict(verdict.outcome, told)

    def draw(self, runs: Runs) -> "Figure | None":
        """Each synthetic function, and what was learned of it by ours and by a linear schedule on each seed."""
        rows = [row for row in self._rows(runs) if row.workload == "shapes-synthetic"]
        if not rows:
            return None
        grid = torch.linspace(-0.98, 0.98, POINTS, dtype=torch.float64)
        figure, axes = figures.grid(len(SHAPES), 5, height=120, left=44)
        shown = {"linear": PAPER.muted, _ARMS[-1].label: PAPER.series[0]}
        for own, (name, truth) in zip(axes, SHAPES.items(), strict=True):
            for arm in (arm for arm in _ARMS if arm.label in shown):
                for index, result in enumerate(reported(rows[0], arm, runs)):
                    learned = [result["metrics"].get(f"shape.{name}.{i}") for i in range(POINTS)]
                    label = arm.label if index == 0 else None
                    if None not in learned:
                        own.plot(grid, learned, color=shown[arm.label], lw=1.1, label=label)
            right = truth(grid) - truth(grid).mean()
            own.plot(grid, right, color=PAPER.text, lw=1.6, ls=":", label="truth")
            figures.title(own, name)
            own.locator_params(nbins=4)
        axes[list(SHAPES).index("line")].legend(fontsize=8, frameon=False, loc="lower right")
        return figure
