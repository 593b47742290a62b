"""Figure 1: the loss along each group's own step beside its parabola, at several moments of three trainings."""

import math
from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paper import figures
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.lines import Line, line
from benchmarks.paper.looking import trainings, watch
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.run import RunConfig
from benchmarks.runner import Search
from hidlr.engines import Measure, StepView
from hidlr.reports.theme import PAPER
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Figure1", "moments"]

_TASKS = {"digits-vit": (1e-3, 80, 315), "shakespeare-gpt": (3e-3, 80, 400), "minilm-full": (1e-4, 24, 120)}
_GOOD = 0.99  # R^2 from which the authors' code uses a fit


class Figure1(Experiment):
    """How quadratic is the loss along a group's step?"""

    name = "fig1"
    title = "Figure 1: loss and parabola"
    claim = "Along each group's direction the loss is close to the fitted parabola (Fig. 1)."
    figure = "Measured losses (marks) and parabolas (lines) along the steps of four groups of each model."
    measures = True

    def searches(self, tier: Tier) -> list[Search]:
        """One training per task and seed, at a fixed rate with linear decay."""
        return trainings(self.name, _TASKS, tier)

    def measure(self, config: RunConfig, workload: Workload) -> dict[str, Any]:
        """Every group's line at five moments."""
        rows: list[dict[str, Any]] = []
        last = watch(config, workload, moments(workload.defaults.steps), partial(_look, rows))
        return {"steps": last, "measured": {"lines": rows}}

    def table(self, runs: Runs) -> str:
        """For each task and moment: share of lines whose parabola is good, and the typical error."""
        cells = []
        for task in _tasks(runs):
            for at in sorted({row["step"] for row in _lines(runs, task)}):
                own = [row for row in _lines(runs, task) if row["step"] == at]
                told = [row for row in own if row["r2"] is not None]
                good = sum(row["r2"] >= _GOOD for row in told)
                convex = sum(row["curvature"] > 0 and row["slope"] > 0 for row in told)
                error = median(_error(row) for row in told) if told else math.nan
                cells.append([task, str(at), f"{good} of {len(own)}", f"{convex} of {len(own)}", f"{error:.1%}"])
        heads = ["training", "step", f"R² at least {_GOOD}", "convex and downhill", "largest error, median"]
        note = (
            "A line is one group's (by role) on one seed. It reaches from one optimum behind the present parameters to "
            "two ahead, the optimum being that of the parabola through one step back and forth. Error: largest "
            "distance of a measured loss from the parabola, as a share of the losses' range."
        )
        return table(heads, cells, note)

    def judge(self, runs: Runs) -> Verdict:
        """Share of all lines with a good parabola."""
        rows = [row for task in _tasks(runs) for row in _lines(runs, task)]
        if not rows:
            return Verdict("not run", "no results yet")
        good = sum(row["r2"] is not None and row["r2"] >= _GOOD for row in rows)
        share = good / len(rows)
        measured = f"R² at least {_GOOD} on {good} of {len(rows)} lines ({share:.0%})"
        return graded(share >= 0.9, share >= 0.5, measured)

    def draw(self, runs: Runs) -> "Figure":
        """Per task, one group a panel: the first seed's lines at the first, a middle and the last moment."""
        tasks = _tasks(runs)
        names = {task: _spread(sorted({row["group"] for row in _lines(runs, task)}), 4) for task in tasks}
        figure, axes = figures.grid(4 * len(tasks), 4, height=130, left=52)
        for row_, task in enumerate(tasks):
            seed = min(result["config"]["seed"] for result in runs if _is(result, task))
            own = [row for row in _lines(runs, task, seed) if row["r2"] is not None]
            steps = _spread(sorted({row["step"] for row in own}), 3)
            for axis, group in zip(axes[4 * row_ : 4 * row_ + 4], names[task], strict=False):
                for color, step in enumerate(steps):
                    for row in (row for row in own if row["group"] == group and row["step"] == step):
                        _draw_line(axis, row, PAPER.series[color], f"step {step}")
                figures.title(axis, f"{task}: {group}", "" if row_ < len(tasks) - 1 else "optima", "")
                axis.locator_params(nbins=4)
            axes[4 * row_].legend(fontsize=9, frameon=False)
        return figure


def moments(steps: int) -> list[int]:
    """Five steps of a run: the second, and every fifth of it.

    Example:
        >>> moments(100)
        [1, 20, 40, 60, 80]
    """
    return [1, *(steps * part // 5 for part in range(1, 5))]


def _look(rows: list[dict[str, Any]], view: StepView, measure: Measure) -> None:
    for group, name in enumerate(view.names):
        if bool(view.moving[group]):
            rows.append({"step": view.step, "group": name, **_plain(line(view, measure, group))})


def _plain(found: Line | None) -> dict[str, Any]:
    if found is None:
        return {"r2": None}
    return {
        "xis": [float(f"{xi:.5g}") for xi in found.xis],
        "losses": [float(f"{loss:.9g}") for loss in found.losses],
        "slope": found.slope,
        "curvature": found.curvature,
        "r2": found.r2,
    }


def _is(result: dict[str, Any], task: str) -> bool:
    return bool(result["config"]["workload"].split("@")[0] == task)


def _tasks(runs: Runs) -> list[str]:
    return [task for task in _TASKS if any(_is(result, task) for result in runs)]


def _lines(runs: Runs, task: str, seed: int | None = None) -> list[dict[str, Any]]:
    return [
        row
        for result in runs
        if _is(result, task) and seed in (None, result["config"]["seed"])
        for row in result.get("measured", {}).get("lines", [])
    ]


def _parabola(row: dict[str, Any], xi: float) -> float:
    base: float = row["losses"][row["xis"].index(0.0)]
    found: float = base - row["slope"] * xi + row["curvature"] * xi**2 / 2
    return found


def _error(row: dict[str, Any]) -> float:
    reach = max(row["losses"]) - min(row["losses"])
    off = max(abs(_parabola(row, xi) - loss) for xi, loss in zip(row["xis"], row["losses"], strict=True))
    return off / reach if reach else 0.0


def _draw_line(axis: Any, row: dict[str, Any], color: str, label: str) -> None:
    half = row["xis"][-1] / 2
    base = row["losses"][row["xis"].index(0.0)]
    fine = np.linspace(row["xis"][0], row["xis"][-1], 60)
    axis.plot(fine / half, [_parabola(row, xi) - base for xi in fine], color=color, lw=1.2, label=label)
    axis.plot([xi / half for xi in row["xis"]], [loss - base for loss in row["losses"]], "o", color=color, ms=3.5)


def _spread(values: Sequence[Any], count: int) -> list[Any]:
    """So many of them, from the first to the last."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]
