"""How the xi are drawn, which the paper does not say: the same moments measured again and again with other draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.paper import figures
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.looking import trainings, watch
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.run import RunConfig
from benchmarks.runner import Search
from hidlr import plans
from hidlr.engines import Measure, StepView
from hidlr.fit import QuadraticFit, fit_diagonal
from hidlr.reports.axes import log_ticks
from hidlr.reports.theme import PAPER
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Xi", "draw_points"]

_TASKS = {"digits-vit": (1e-3, 60, 315), "shakespeare-gpt": (3e-3, 60, 400)}
_DRAWS = 3
_PER_GROUP = 4


@dataclass(frozen=True)
class _Way:
    """A distribution of xi and its standard deviation (units of the step)."""

    kind: str
    size: float

    @property
    def label(self) -> str:
        return f"{self.kind}, {self.size:g}"


_WAYS = tuple(_Way(kind, size) for kind in ("normal", "uniform", "axis") for size in (0.1, 1.0, 10.0))


class Xi(Experiment):
    """Sensitivity to the draws."""

    name = "xi"
    title = "Distribution of xi"
    claim = "Assumed: 4K random points (which, the paper does not say) are enough to find each group's optimum."
    figure = "Optimum from each way of drawing over the group's own, with 80% ranges."
    measures = True

    def searches(self, tier: Tier) -> list[Search]:
        """One training per task and seed, at a fixed rate with linear decay."""
        return trainings(self.name, _TASKS, tier)

    def measure(self, config: RunConfig, workload: Workload) -> dict[str, Any]:
        """At three moments: each way of drawing, several times, beside each group's own central difference."""
        steps = workload.defaults.steps
        rows: list[dict[str, Any]] = []
        last = watch(config, workload, [1, steps // 3, 2 * steps // 3], partial(_look, rows, config.seed))
        return {"steps": last, "measured": {"fits": rows}}

    def table(self, runs: Runs) -> str:
        """For each task and way: how often a fit is usable, how far its optimum is off, how far draws scatter."""
        cells = []
        for task in _TASKS:
            for way in _WAYS:
                own = [row for row in _rows(runs, task) if (row["kind"], row["size"]) == (way.kind, way.size)]
                if not own:
                    continue
                usable = sum(row["ratio"] is not None for row in own)
                r2 = [row["r2"] for row in own if row["r2"] is not None]
                cells.append(
                    [
                        task, way.label, f"{usable} of {len(own)}", _factor(own),
                        f"{sum(value >= 0.99 for value in r2)} of {len(own)}",
                    ]
                )  # fmt: skip
        heads = ["training", "draws, deviation", "usable optima", "typical factor off", "R² at least 0.99"]
        note = (
            f"One row per group, moment, seed and draw ({_DRAWS} draws of {_PER_GROUP}K points). Usable: convex and "
            "downhill. Factor off: median of max(r, 1/r) where r is the fit's optimum over that of the group's own "
            "central difference at one step. Signs (+1 or -1) are not among the ways: with them all xi² are equal, and "
            "the A_kk cannot be told apart. Against exact curvatures: [the study of estimators](../estimators.md)."
        )
        return table(heads, cells, note)

    def judge(self, runs: Runs) -> Verdict:
        """The natural reading, normal draws at steps' length, against the central difference."""
        rows = [r for task in _TASKS for r in _rows(runs, task) if (r["kind"], r["size"]) == ("normal", 1.0)]
        if not rows:
            return Verdict("not run", "no results yet")
        usable = [row["ratio"] for row in rows if row["ratio"] is not None]
        close = sum(0.5 <= ratio <= 2 for ratio in usable)
        measured = (
            f"normal draws of one step's length: {len(usable)} of {len(rows)} optima are usable, and {close} within a "
            "factor of 2 of the group's own central difference"
        )
        share = close / len(rows)
        return graded(share >= 0.9, share >= 0.5, measured)

    def draw(self, runs: Runs) -> "Figure":
        """The fit's optimum over the group's own, a column of marks for each way."""
        figure, axes = figures.grid(len(_TASKS), 2, height=240, left=60, below=80)
        for axis, task in zip(axes, _TASKS, strict=True):
            for place, way in enumerate(_WAYS):
                own = [row for row in _rows(runs, task) if (row["kind"], row["size"]) == (way.kind, way.size)]
                ratios = [row["ratio"] for row in own if row["ratio"] is not None]
                color = PAPER.series[("normal", "uniform", "axis").index(way.kind)]
                if ratios:
                    low, middle, high = torch.tensor(ratios).quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()
                    axis.plot([place, place], [low, high], color=color, lw=2)
                    axis.plot([place], [middle], "o", color=color, ms=6)
            axis.axhline(1, color=PAPER.muted, lw=0.8)
            log_ticks(axis, 1e-3, 30)
            axis.set_xticks(range(len(_WAYS)), [way.label for way in _WAYS], rotation=35, fontsize=9, ha="right")
            figures.title(axis, task, "", "optimum over the group's own" if task == "digits-vit" else "")
        return figure


def draw_points(kind: str, groups: int, size: float, seed: int) -> list[plans.Point]:
    """4K points with entries of this standard deviation (units of the step); "axis" has 2K.

    Args:
        kind: "normal", "uniform" or "axis".
        groups: K.
        size: standard deviation; of an axis, how far its two points lie.
        seed: of the draw.
    """
    if kind == "axis":
        return [point for k in range(groups) for point in plans.axis(groups, k, [size, -size])]
    if kind == "normal":
        return plans.gaussian(groups, _PER_GROUP * groups, [size] * groups, seed)
    draws = torch.rand(_PER_GROUP * groups, groups, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows: list[list[float]] = ((2 * draws - 1) * math.sqrt(3) * size).tolist()
    return [tuple(row) for row in rows]


def _look(rows: list[dict[str, Any]], seed: int, view: StepView, measure: Measure) -> None:
    groups = len(view.names)
    if not bool(view.moving.all()):
        return
    truth = _fit(measure, draw_points("axis", groups, 1.0, 0), view.base)
    if truth is None:
        return
    own = truth.slope / truth.curvature.diagonal()
    for way in _WAYS:
        for draw in range(1 if way.kind == "axis" else _DRAWS):
            points = draw_points(way.kind, groups, way.size, 1000 * seed + 10 * view.step + draw)
            fit = _fit(measure, points, view.base)
            for k, name in enumerate(view.names):
                ratio, r2 = None, None
                if fit is not None:
                    value = float(fit.minimiser()[k] / own[k])
                    usable = float(fit.slope[k]) > 0 and math.isfinite(value) and float(own[k]) > 0
                    ratio, r2 = (float(f"{value:.4g}") if usable and value > 0 else None), float(f"{fit.r2:.5g}")
                rows.append(
                    {"step": view.step, "group": name, "kind": way.kind, "size": way.size, "ratio": ratio, "r2": r2}
                )  # fmt: skip


def _fit(measure: Measure, points: Sequence[plans.Point], base: float) -> QuadraticFit | None:
    losses = measure(points)
    return fit_diagonal(points, losses, base) if all(map(math.isfinite, losses)) else None


def _rows(runs: Runs, task: str) -> list[dict[str, Any]]:
    return [
        row
        for result in runs
        if result["config"]["workload"].split("@")[0] == task
        for row in result.get("measured", {}).get("fits", [])
    ]


def _factor(rows: Sequence[dict[str, Any]]) -> str:
    ratios = [max(row["ratio"], 1 / row["ratio"]) for row in rows if row["ratio"] is not None]
    return f"x {median(ratios):.2f}" if ratios else ""
