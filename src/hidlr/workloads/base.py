"""What a workload is: a seeded model, batches that are a function of the step, a loss, an evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

__all__ = ["Batch", "Defaults", "Grouping", "Surface", "Workload"]

Batch = tuple[Tensor, ...]
Grouping = str | Callable[[str, nn.Parameter], str]


@dataclass(frozen=True)
class Defaults:
    """What a run of a workload uses where the user says nothing.

    Attributes:
        optimizer: name of the base optimizer, as in `hidlr.training.optimizers`.
        steps: optimizer steps of a full run.
        groups: name of the grouping.
        schedule: name of the schedule that multiplies the rates.
        weight_decay: decoupled weight decay, for optimizers that have it (1 / lr).
    """

    optimizer: str
    steps: int
    groups: str
    schedule: str = "linear"
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Surface:
    """Values of a function of two variables on a coarse grid, for drawing under a trajectory.

    Attributes:
        name: the function's name.
        xlim: left and right end.
        ylim: lower and upper end.
        x: columns of the grid.
        y: rows of the grid.
        z: values; `z[i][j]` is the function at `(x[j], y[i])`.
        minimum: where the function is smallest.
    """

    name: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    x: tuple[float, ...]
    y: tuple[float, ...]
    z: tuple[tuple[float, ...], ...]
    minimum: tuple[float, float]


class Workload(ABC):
    """A training problem, complete but for optimizer and rates.

    Everything random is a pure function of a seed (and a step), so that a run resumed at any step
    sees what an uninterrupted one does.

    Attributes:
        name: what the user calls it.
        description: one line.
        metric_name: the entry of `evaluate` that chooses between runs; never the test split's.
        test_name: the entry of `evaluate` to report beside it.
        higher_is_better: direction of `metric_name` (and of `test_name`).
        defaults: optimizer, steps, groups and schedule where the user says nothing.
        groupings: groupings of this workload's own, by name; others go to `hidlr.param_groups`.
    """

    name: str
    description: str
    metric_name: str
    test_name: str
    higher_is_better: bool
    defaults: Defaults
    groupings: Mapping[str, Grouping] = MappingProxyType({})

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """A freshly initialised model, the same for the same seed; the global random state is left alone."""

    @abstractmethod
    def batch(self, step: int, seed: int) -> Batch:
        """The batch of a step (on the CPU), a pure function of both arguments."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The scalar training loss of a batch, which lies on the model's device."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Every metric at the model's parameters, `metric_name` and `test_name` among them."""

    def point(self, model: nn.Module) -> tuple[float, float] | None:
        """Where the parameters are, for functions of two variables; None otherwise."""
        del model
        return None

    def surface(self) -> Surface | None:
        """The function on a grid, for functions of two variables; None otherwise."""
        return None


def device_of(model: nn.Module) -> torch.device:
    """The device that a model's parameters lie on."""
    return next(model.parameters()).device


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; the model's own mode comes back afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
