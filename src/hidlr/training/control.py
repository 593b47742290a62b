"""Who sets the rates during a run: the tuner, or one uniform rate with warm-up and decay."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from hidlr.history import History, StepRecord
from hidlr.schedules import Horizon
from hidlr.training.config import RunConfig
from hidlr.tuner import HiDLR

__all__ = ["RateControl", "UniformRate", "control_for"]


class RateControl(Protocol):
    """Called after each base step, like a torch scheduler; `hidlr.HiDLR` is one.

    Attributes:
        history: what its probes found.
    """

    history: History

    @property
    def rates(self) -> dict[str, float]:
        """Rate of each group, by name (lr)."""

    def step(self, closure: Callable[[], Tensor]) -> StepRecord | None:
        """Set the next step's rates; a record if the loss was probed for them."""

    def summary(self) -> object:
        """What can be told at the end; printable."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""


class UniformRate:
    """One rate for all groups: linear warm-up from 0, then the schedule over what remains.

    Args:
        optimizer: its groups get the rate.
        rate: the peak (lr).
        schedule: "linear", "cosine" or "constant".
        steps: length of the run.
        warmup: share of the run to warm up over.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> control = UniformRate(torch.optim.SGD([weight]), rate=1.0, schedule="linear", steps=4, warmup=0.5)
        >>> [control.factor(step) for step in range(4)]
        [0.5, 1.0, 1.0, 0.5]
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, *, rate: float, schedule: str, steps: int, warmup: float
    ) -> None:
        self.history = History()
        self._optimizer = optimizer
        self._rate = rate
        self._rising = round(warmup * steps)
        self._decay = Horizon(schedule, max(1, steps - self._rising))
        self._done = 0
        self._place()

    def factor(self, step: int) -> float:
        """What multiplies the peak rate at a step."""
        if step < self._rising:
            return (step + 1) / self._rising
        return self._decay.factor(step - self._rising)

    @property
    def rates(self) -> dict[str, float]:
        """The rate of the next step, once for each group (lr)."""
        return {
            str(group.get("name", number)): float(group["lr"])
            for number, group in enumerate(self._optimizer.param_groups)
        }

    def step(self, closure: Callable[[], Tensor]) -> None:
        """Move on by one step; nothing is measured."""
        del closure
        self._done += 1
        self._place()

    def summary(self) -> None:
        """Nothing was measured, so there is nothing to tell."""

    def state_dict(self) -> dict[str, Any]:
        """The number of steps done."""
        return {"done": self._done}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._done = int(state["done"])
        self._place()

    def _place(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * self.factor(self._done)


def control_for(config: RunConfig, optimizer: torch.optim.Optimizer) -> RateControl:
    """The rate control that a resolved config asks for."""
    assert config.steps is not None
    assert config.schedule is not None
    if config.rate != "auto":
        return UniformRate(
            optimizer,
            rate=config.rate,
            schedule=config.schedule,
            steps=config.steps,
            warmup=config.warmup,
        )
    if config.engine == "paper":
        return HiDLR.paper(optimizer, total_steps=config.steps, schedule=config.schedule, seed=config.seed)
    return HiDLR(
        optimizer,
        total_steps=config.steps,
        schedule=config.schedule,
        overhead=config.overhead,
    )
