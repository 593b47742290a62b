"""hidlr's functions of two variables, started from a point that depends on the seed, judged by orders of magnitude."""

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from hidlr.workloads import functions
from hidlr.workloads.base import Defaults

__all__ = ["FLOOR", "Beale", "Ellipse", "Rosenbrock"]

# Below this a value says how the rounding fell, not how good the rates were: such runs are to tie.
FLOOR = -12.0
_JITTER = 0.1


class SeededFunction(functions.PlaneFunction):
    """A function whose start moves with the seed, so that five seeds are five runs.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
    """

    metric_name = "log10_loss"
    test_name = "distance"
    higher_is_better = False
    # No weight decay: it would pull the point away from the minimum.
    defaults = Defaults(optimizer="adamw", steps=300, groups="tensor")
    optimizers: tuple[str, ...]

    def __init__(self, data: Path | None = None) -> None:
        del data

    def build(self, seed: int) -> nn.Module:
        """The start, each coordinate moved by up to 0.1."""
        draw = torch.Generator().manual_seed(seed)
        shift = (2 * torch.rand(2, generator=draw, dtype=torch.float64) - 1) * _JITTER
        return functions.Point(*(centre + move for centre, move in zip(self.start, shift.tolist(), strict=True)))

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """log10 of f above its minimum (which is 0), at least -12; f, the distance to the minimum and the point."""
        scores = super().evaluate(model)
        loss = scores["loss"]
        return {"log10_loss": FLOOR if loss <= 10**FLOOR else math.log10(loss), **scores}


class Rosenbrock(SeededFunction, functions.Rosenbrock):
    """Rosenbrock's curved valley."""

    defaults = replace(SeededFunction.defaults, steps=1000)  # in 300 no uniform rate gets through the valley
    optimizers = ("adamw",)


class Beale(SeededFunction, functions.Beale):
    """Beale's function."""

    optimizers = ("adamw",)


class Ellipse(SeededFunction, functions.Ellipse):
    """An ellipse of condition number 100."""

    defaults = replace(SeededFunction.defaults, steps=200)  # after 300, a tuned uniform rate is at the floor
    optimizers = ("adamw", "momentum")
