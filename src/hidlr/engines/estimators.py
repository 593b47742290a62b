"""Plan and fit together: from a step to its slopes and curvatures by forward passes alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from hidlr import plans
from hidlr.engines.protocol import Measure, StepView
from hidlr.fit import QuadraticFit, fit_diagonal, fit_full

__all__ = ["AxisEstimator", "Estimator", "FullEstimator", "RandomEstimator"]


class Estimator(Protocol):
    """Measures one step's quadratic model, in units of xi; groups that did not move cost nothing and get nan."""

    @property
    def size(self) -> float:
        """How far its probes go (units of the base step)."""

    def points(self, groups: int) -> int:
        """Points one estimate of so many moving groups takes, the base not counted."""

    def estimate(self, view: StepView, measure: Measure) -> QuadraticFit:
        """Slopes and curvatures of all groups."""


@dataclass(frozen=True)
class AxisEstimator:
    """Each group alone, forth and back: 2K points, no cross terms enter (central differences).

    Args:
        size: xi of a probe (units of the base step).
    """

    size: float = 1.0

    def points(self, groups: int) -> int:
        """2K."""
        return 2 * groups

    def estimate(self, view: StepView, measure: Measure) -> QuadraticFit:
        """Slopes and diagonal curvature."""
        groups = int(view.moving.sum())
        points = [point for k in range(groups) for point in plans.axis(groups, k, [self.size, -self.size])]
        return _fitted(fit_diagonal, points, view, measure)


@dataclass(frozen=True)
class RandomEstimator:
    """Algorithm 1 of arXiv 2501.06954: 4K normal points; with one group, GeN's -1, 0, +1 (2407.02772).

    Args:
        size: standard deviation of xi (units of the base step); the paper's points are at steps' length.
        per_group: points per group; the paper's 4.
        seed: of the draws; step t uses its own stream.
    """

    size: float = 1.0
    per_group: int = 4
    seed: int = 0

    def points(self, groups: int) -> int:
        """4K, or 2 for one group."""
        return 2 if groups == 1 else self.per_group * groups

    def estimate(self, view: StepView, measure: Measure) -> QuadraticFit:
        """Slopes and diagonal curvature."""
        groups = int(view.moving.sum())
        if groups == 1:
            points = plans.axis(1, 0, [self.size, -self.size])
        else:
            seed = self.seed * 1_000_003 + view.step
            points = plans.gaussian(groups, self.points(groups), [self.size] * groups, seed)
        return _fitted(fit_diagonal, points, view, measure)


@dataclass(frozen=True)
class FullEstimator:
    """Every entry of the K x K curvature: K(K+3)/2 points; the minimiser is then A^-1 b (2.4).

    Args:
        size: xi of a probe (units of the base step).
    """

    size: float = 1.0

    def points(self, groups: int) -> int:
        """K (K + 3) / 2."""
        return groups * (groups + 3) // 2

    def estimate(self, view: StepView, measure: Measure) -> QuadraticFit:
        """Slopes and full curvature."""
        groups = int(view.moving.sum())
        return _fitted(fit_full, plans.full(groups, [self.size] * groups), view, measure)


def _fitted(
    fit: Callable[[Sequence[plans.Point], Sequence[float], float], QuadraticFit],
    points: Sequence[plans.Point],
    view: StepView,
    measure: Measure,
) -> QuadraticFit:
    """Measure points given for the moving groups alone, and spread the fit over all groups."""
    groups = len(view.names)
    moving = view.moving.nonzero()[:, 0]
    slope = torch.full((groups,), torch.nan, dtype=torch.float64)
    curvature = torch.zeros(groups, groups, dtype=torch.float64)
    if not points:
        return QuadraticFit(slope, curvature, math.nan)
    spread = torch.zeros(len(points), groups, dtype=torch.float64)
    spread[:, moving] = torch.tensor(points, dtype=torch.float64)
    losses = measure([tuple(row) for row in spread.tolist()])
    if not all(map(math.isfinite, losses)):
        # One probe went too far: a fit of nan is refused group by group, with that as the reason.
        return QuadraticFit(slope, slope.diag(), math.nan)
    found = fit(points, losses, view.base)
    slope[moving] = found.slope
    curvature[moving[:, None], moving] = found.curvature
    return QuadraticFit(slope, curvature, found.r2)
