"""Is the diagonal of A enough? The K x K curvature at several moments, and the loss where each minimiser leads."""

import math
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.paper import figures
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.fig1 import moments
from benchmarks.paper.looking import trainings, watch
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.run import RunConfig
from benchmarks.runner import Search
from hidlr.engines import FullEstimator, Measure, StepView
from hidlr.reports.theme import PAPER
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Diagonal", "coupling", "minimisers"]

_TASKS = {"digits-vit": (1e-3, 80, 315), "shakespeare-gpt": (3e-3, 80, 400)}
_KINDS = ("one rate", "diagonal", "full")
_LABELS = {
    "one rate": "one factor for all groups",
    "diagonal": "b_k / A_kk (the paper's)",
    "full": "A⁻¹ b",
}
_FAR = 30.0  # a minimiser is cut here (units of the step): the parabola says nothing of what lies beyond


class Diagonal(Experiment):
    """What the reviewers asked of (3.1)."""

    name = "diagonal"
    title = "Diagonal against full A"
    claim = "Assumed in (3.1), and not checked in the paper: the diagonal of A stands for all of it."
    figure = "Matrices of the coupling between groups, for both models."
    measures = True

    def searches(self, tier: Tier) -> list[Search]:
        """One training per task and seed, at a fixed rate with linear decay."""
        return trainings(self.name, _TASKS, tier)

    def measure(self, config: RunConfig, workload: Workload) -> dict[str, Any]:
        """A at five moments, and the losses at the three minimisers."""
        rows: list[dict[str, Any]] = []
        last = watch(config, workload, moments(workload.defaults.steps), partial(_look, rows))
        return {"steps": last, "measured": {"moments": rows}}

    def table(self, runs: Runs) -> str:
        """For each task and moment: the coupling, and what each minimiser gains on the batch."""
        cells = []
        for task in _TASKS:
            rows = _rows(runs, task)
            for step in sorted({row["step"] for row in rows}):
                own = [row for row in rows if row["step"] == step]
                gains = [_told([row["gain"][kind] for row in own]) for kind in _KINDS]
                cells.append([task, str(step), _told([row["coupling"] for row in own], ".2f"), *gains])
        note = (
            "Medians over seeds. Coupling: mean of |A_ij| / sqrt(A_ii A_jj) over pairs of groups with positive "
            "diagonal. The other columns: how far the loss of the step's own batch falls where the minimiser leads, as "
            "a share of it; negative where it rises; nan where A is not positive definite."
        )
        return table(["training", "step", "coupling", *_LABELS.values()], cells, note)

    def judge(self, runs: Runs) -> Verdict:
        """The diagonal minimiser's gain against the best of the three, moment by moment."""
        rows = [row for task in _TASKS for row in _rows(runs, task)]
        if not rows:
            return Verdict("not run", "no results yet")
        best = {kind: sum(_winner(row) == kind for row in rows) for kind in _KINDS}
        near = sum(_gain(row, "diagonal") >= 0.9 * max(_gain(row, kind) for kind in _KINDS) for row in rows)
        risen = sum(_gain(row, "diagonal") < 0 for row in rows)
        measured = (
            f"at {len(rows)} moments the largest fall of the loss is the full minimiser's {best['full']} times, the "
            f"diagonal's {best['diagonal']}, one common factor's {best['one rate']}; the diagonal's is within a tenth "
            f"of it {near} times, and {risen} times the loss rises"
        )
        share = near / len(rows)
        return graded(share >= 0.9, share >= 0.5, measured)

    def draw(self, runs: Runs) -> "Figure":
        """Mean absolute coupling between groups, a matrix per task."""
        figure, axes = figures.grid(len(_TASKS), 2, height=260, left=120)
        for axis, task in zip(axes, _TASKS, strict=True):
            rows = _rows(runs, task)
            if not rows:
                continue
            stacked = torch.tensor([row["matrix"] for row in rows], dtype=torch.float64).nanmean(0)
            axis.imshow(stacked, cmap="Blues", vmin=0, vmax=1)
            for i, own in enumerate(stacked.tolist()):
                for j, value in enumerate(own):
                    color = PAPER.surface if value > 0.5 else PAPER.text
                    axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=9, color=color)
            axis.set_xticks(range(len(rows[0]["names"])), rows[0]["names"], rotation=30, fontsize=9)
            axis.set_yticks(range(len(rows[0]["names"])), rows[0]["names"])
            axis.grid(visible=False)
            figures.title(axis, task)
        return figure


def coupling(curvature: Tensor) -> Tensor:
    """|A_ij| / sqrt(A_ii A_jj), float64 [K, K]; nan where a diagonal entry is not positive.

    Example:
        >>> coupling(torch.tensor([[4.0, -2.0], [-2.0, 4.0]]))
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """
    diagonal = torch.where(curvature.diagonal() > 0, curvature.diagonal(), torch.nan)
    return curvature.abs() / (diagonal[:, None] * diagonal[None]).sqrt()


def minimisers(slope: Tensor, curvature: Tensor) -> dict[str, Tensor | None]:
    """xi [K] at the minimum of the model with one common factor, with A's diagonal, with A; None where there is none.

    The diagonal leaves groups that do not climb or are not convex where the step put them (xi = 1), as the paper does.
    """
    found: dict[str, Tensor | None] = {}
    bend = float(curvature.sum())
    found["one rate"] = torch.full_like(slope, float(slope.sum()) / bend) if bend > 0 else None
    own = slope / curvature.diagonal()
    found["diagonal"] = torch.where((curvature.diagonal() > 0) & (own > 0), own, 1.0)
    factor, failed = torch.linalg.cholesky_ex(curvature)
    found["full"] = None if int(failed) else torch.cholesky_solve(slope[:, None], factor)[:, 0]
    return {kind: None if xi is None else xi.clamp(-_FAR, _FAR) for kind, xi in found.items()}


def _look(rows: list[dict[str, Any]], view: StepView, measure: Measure) -> None:
    fit = FullEstimator(1.0).estimate(view, measure)
    if not bool(view.moving.all()) or not bool(fit.slope.isfinite().all()):
        return
    matrix = coupling(fit.curvature)
    pairs = matrix[~torch.eye(len(matrix), dtype=torch.bool)]
    gains = {}
    for kind, xi in minimisers(fit.slope, fit.curvature).items():
        gains[kind] = None if xi is None else (view.base - measure([tuple(xi.tolist())])[0]) / view.base
    rows.append(
        {
            "step": view.step,
            "names": list(view.names),
            "coupling": _finite(float(pairs.nanmean())),
            "matrix": [[_finite(value) for value in own] for own in matrix.tolist()],
            "gain": {kind: _finite(gain) for kind, gain in gains.items()},
        }
    )


def _rows(runs: Runs, task: str) -> list[dict[str, Any]]:
    return [
        {**row, "matrix": [[math.nan if v is None else v for v in own] for own in row["matrix"]]}
        for result in runs
        if result["config"]["workload"].split("@")[0] == task
        for row in result.get("measured", {}).get("moments", [])
    ]


def _gain(row: dict[str, Any], kind: str) -> float:
    return -math.inf if row["gain"][kind] is None else float(row["gain"][kind])


def _winner(row: dict[str, Any]) -> str:
    return max(_KINDS, key=lambda kind: _gain(row, kind))


def _finite(value: float | None) -> float | None:
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def _told(values: list[float | None], form: str = ".1%") -> str:
    known = [value for value in values if value is not None]
    return format(median(known), form) if known else "nan"
