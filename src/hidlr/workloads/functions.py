"""Functions of two variables with known minima, a group per coordinate; nothing about them is random."""

import math
from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hidlr.workloads.base import Batch, Defaults, Surface, Workload

__all__ = ["Beale", "Ellipse", "PlaneFunction", "Point", "Rosenbrock"]

_GRID = 61


class Point(nn.Module):
    """A point of the plane, each coordinate a parameter of its own.

    Double precision: near a minimum single precision would end the descent, not the method.
    """

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(x, dtype=torch.float64))
        self.y = nn.Parameter(torch.tensor(y, dtype=torch.float64))


class PlaneFunction(Workload):
    """A function f(x, y) to descend from a fixed start.

    Attributes:
        start: where descent begins.
        minimum: where f is smallest; it is 0 there.
        xlim: what to show of the x axis.
        ylim: what to show of the y axis.
    """

    metric_name = "loss"
    test_name = "distance"
    higher_is_better = False
    defaults = Defaults(optimizer="sgd", steps=200, groups="tensor", schedule="constant")
    start: tuple[float, float]
    minimum: tuple[float, float]
    xlim: tuple[float, float]
    ylim: tuple[float, float]

    @abstractmethod
    def value(self, x: Any, y: Any) -> Any:
        """f(x, y), of floats or tensors."""

    def build(self, seed: int) -> nn.Module:
        """The start, whatever the seed."""
        del seed
        return Point(*self.start)

    def batch(self, step: int, seed: int) -> Batch:
        """Nothing: the function is the same at every step."""
        del step, seed
        return ()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """f at the model's point."""
        del batch
        loss: Tensor = self.value(model.x, model.y)
        return loss

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """f, the distance to the minimum, and the point itself."""
        x, y = self.point(model)
        with torch.no_grad():
            loss = self.loss(model, ())
        return {
            "loss": loss.item(),
            "distance": math.hypot(x - self.minimum[0], y - self.minimum[1]),
            "x": x,
            "y": y,
        }

    def point(self, model: nn.Module) -> tuple[float, float]:
        """Where the parameters are."""
        x, y = dict(model.named_parameters()).values()
        return x.item(), y.item()

    def surface(self) -> Surface:
        """f on a grid of 61 x 61 points."""
        xs, ys = (_axis(*limits) for limits in (self.xlim, self.ylim))
        z = tuple(tuple(float(f"{self.value(x, y):.6g}") for x in xs) for y in ys)
        return Surface(self.name, self.xlim, self.ylim, xs, ys, z, self.minimum)


class Rosenbrock(PlaneFunction):
    """(1 - x)^2 + 100 (y - x^2)^2: a curved, flat valley between steep walls."""

    name = "rosenbrock"
    description = "Rosenbrock's valley, minimum at (1, 1)"
    defaults = replace(PlaneFunction.defaults, steps=1000)  # the valley's floor is long
    start = (-1.5, 2.0)
    minimum = (1.0, 1.0)
    xlim = (-2.0, 2.0)
    ylim = (-1.0, 3.0)

    def value(self, x: Any, y: Any) -> Any:
        """f(x, y)."""
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2


class Beale(PlaneFunction):
    """Beale's function: a flat middle between sharp corners."""

    name = "beale"
    description = "Beale's function, minimum at (3, 0.5)"
    start = (1.0, 1.5)
    minimum = (3.0, 0.5)
    xlim = (-0.5, 4.5)
    ylim = (-1.5, 2.0)

    def value(self, x: Any, y: Any) -> Any:
        """f(x, y)."""
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


class Ellipse(PlaneFunction):
    """x^2 + 100 y^2: one rate is either too small for x or too large for y."""

    name = "ellipse"
    description = "an ellipse of condition number 100, minimum at (0, 0)"
    start = (-4.0, 1.0)
    minimum = (0.0, 0.0)
    xlim = (-5.0, 5.0)
    ylim = (-1.5, 1.5)

    def value(self, x: Any, y: Any) -> Any:
        """f(x, y)."""
        return x**2 + 100 * y**2


def _axis(low: float, high: float) -> tuple[float, ...]:
    return tuple(round(low + (high - low) * i / (_GRID - 1), 6) for i in range(_GRID))
