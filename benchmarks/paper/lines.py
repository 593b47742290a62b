"""Looks along a step's directions during training: an engine that measures at chosen steps and leaves the rates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import hidlr
from benchmarks import optimizers
from benchmarks.control import Beside
from benchmarks.run import RunConfig
from hidlr import plans
from hidlr.engines import Decision, Engine, StepView
from hidlr.engines.protocol import Measure
from hidlr.fit import QuadraticFit, fit_diagonal
from hidlr.workloads.base import Workload

__all__ = ["Line", "Look", "Watching", "line", "with_engine"]

Look = Callable[[StepView, Measure], None]
"""Called at a chosen step with what an engine would see."""

_SHAPE = (-1.0, -0.5, 0.5, 1.0, 1.5, 2.0)  # where a line is measured, in units of its half width
_SHORTEST, _LONGEST = 0.05, 50.0  # half widths (units of the step)


class Watching:
    """An engine that leaves the rates as they are, and looks at chosen steps.

    Args:
        at: steps to look at (from 0).
        look: what to do there.
    """

    looks_back = 0.0

    def __init__(self, at: Sequence[int], look: Look) -> None:
        self._at = frozenset(at)
        self._look = look

    def due(self, step: int) -> bool:
        """Whether there is something to look at."""
        return step in self._at

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Look, and keep the rates."""
        self._look(view, measure)
        return Decision(view.rates, "look", note="only looked at")

    def spend(self, step: int, points: int) -> None:
        """Nothing to account for."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


@dataclass(frozen=True)
class Line:
    """The loss along one group's direction, and its parabola.

    Attributes:
        xis: where it was measured (units of the step), 0 among them.
        losses: there.
        slope: of the least-squares parabola at 0, positive is descent (loss per step).
        curvature: of the parabola.
        r2: share of the losses' variation that the parabola explains.
    """

    xis: tuple[float, ...]
    losses: tuple[float, ...]
    slope: float
    curvature: float
    r2: float

    def parabola(self, xi: float) -> float:
        """The fitted loss."""
        base = self.losses[self.xis.index(0.0)]
        return base - self.slope * xi + self.curvature * xi**2 / 2


def line(view: StepView, measure: Measure, group: int) -> Line | None:
    """Measure along one group's direction, from one optimum behind to two ahead; None where it is not finite.

    The optimum is that of the parabola through one step back and forth; where it has none, the step is the unit.
    """
    count = len(view.names)
    pilot = _fitted(measure, count, group, [1.0, -1.0], view.base)
    half = 1.0
    if pilot is not None:
        slope, curvature = float(pilot.slope[0]), float(pilot.curvature[0, 0])
        if slope > 0 and curvature > 0:
            half = min(max(slope / curvature, _SHORTEST), _LONGEST)
    xis = [half * shape for shape in _SHAPE]
    losses = measure(plans.axis(count, group, xis))
    if not bool(torch.tensor(losses).isfinite().all()):
        return None
    fit = fit_diagonal([(xi,) for xi in xis], losses, view.base)
    pairs = sorted([*zip(xis, losses, strict=True), (0.0, view.base)])
    where, what = zip(*pairs, strict=True)
    return Line(where, what, float(fit.slope[0]), float(fit.curvature[0, 0]), fit.r2)


def _fitted(measure: Measure, count: int, group: int, xis: Sequence[float], base: float) -> QuadraticFit | None:
    """The parabola through points along one group; None where a loss is not finite."""
    losses = measure(plans.axis(count, group, xis))
    if not bool(torch.tensor(losses).isfinite().all()):
        return None
    return fit_diagonal([(xi,) for xi in xis], losses, base)


def with_engine(
    config: RunConfig, workload: Workload, engine_of: Callable[[Sequence[str]], Engine]
) -> tuple[torch.nn.Module, Beside]:
    """A model and what trains it, as `benchmarks.control.assemble` gives them, with an engine of one's own."""
    model = workload.build(config.seed)
    model.train()
    scheme = config.groups or workload.defaults.groups
    groups = hidlr.param_groups(model, workload.groupings.get(scheme, scheme))
    optimizer = optimizers.build(config.optimizer, groups, config.rate, workload.defaults.weight_decay, model)
    tuner = hidlr.HiDLR(
        optimizer,
        total_steps=workload.defaults.steps,
        schedule=config.schedule,
        engine=engine_of([group["name"] for group in groups]),
    )
    return model, Beside(optimizer, tuner.step, lambda: dict(tuner.state_dict()["tuned"]))
