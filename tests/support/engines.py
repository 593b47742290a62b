"""Engines that do what a test says."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch

from hidlr.engines import Decision, Measure, StepView


class Multiply:
    """Multiplies group k's rate by ``factors[k]`` at the given steps, and keeps what it saw.

    Args:
        factors: one per group.
        at: the steps that are due; None is every one.
        points: what to measure first.
    """

    def __init__(
        self, factors: Sequence[float], at: Container[int] | None = None, points: Sequence[Sequence[float]] = ()
    ) -> None:
        self.factors = torch.tensor(factors, dtype=torch.float64)
        self.at = at
        self.points = [tuple(point) for point in points]
        self.views: list[StepView] = []
        self.losses: list[list[float]] = []
        self.spent: list[tuple[int, int]] = []

    @property
    def looks_back(self) -> float:
        return 0.0

    def due(self, step: int) -> float:
        return self.at is None or step in self.at

    def decide(self, view: StepView, measure: Measure) -> Decision:
        self.views.append(view)
        self.losses.append(measure(self.points))
        return Decision(view.rates * self.factors, "test")

    def spend(self, step: int, points: int) -> None:
        self.spent.append((step, points))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def view(
    *,
    rates: Sequence[float],
    slopes: Sequence[float] | None = None,
    base: float = 1.0,
    noise: float = 0.0,
    step: int = 0,
    factor: float = 1.0,
) -> StepView:
    """What an engine would see of a step taken at these rates."""
    taken = torch.tensor(rates, dtype=torch.float64)
    return StepView(
        step=step,
        names=tuple(f"part{k}" for k in range(len(rates))),
        rates=taken,
        tuned=taken / factor,
        slopes=torch.ones_like(taken) if slopes is None else torch.tensor(slopes, dtype=torch.float64),
        sizes=(1,) * len(rates),
        factor=factor,
        base=base,
        noise=noise,
    )


def parabola(slopes: Sequence[float], curvature: Sequence[Sequence[float]], base: float = 1.0) -> Measure:
    """Losses of a known quadratic model: L = base - b.xi + xi.A xi / 2."""
    b, a = torch.tensor(slopes, dtype=torch.float64), torch.tensor(curvature, dtype=torch.float64)

    def measure(points: Sequence[Sequence[float]]) -> list[float]:
        xi = torch.tensor(points, dtype=torch.float64)
        return (base - xi @ b + ((xi @ a) * xi).sum(1) / 2).tolist()

    return measure
