"""How rates fall over a run: a horizon of our own, or a torch scheduler that we compose with."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.optim import lr_scheduler
from torch.optim.optimizer import Optimizer

from hidlr.compatibility import unwrapped
from hidlr.errors import HidlrWarning, InputError, InputTypeError

__all__ = ["Composed", "Horizon", "Schedule", "own_rates", "read_rate", "write_rate"]

ParamGroup = dict[str, Any]


class Schedule(Protocol):
    """Turns tuned rates into the rates in the optimizer's groups."""

    def factor(self, step: int) -> float:
        """What multiplies the tuned rates at a base step."""

    def ahead(self, step: int) -> float:
        """The largest factor still to come."""

    def scale(self, index: int, group: ParamGroup, ratio: float) -> None:
        """Multiply group ``index``'s tuned rate, wherever its schedule remembers it."""


class Horizon:
    """A factor of progress in [0, 1] on all rates; the default decays linearly towards 0.

    Step t of T has factor ``f(t / T)``: the first step is full, the last one not yet 0, and steps
    beyond T keep the last one's factor (with one warning).

    Args:
        schedule: "linear", "cosine", "constant", or a callable of progress in [0, 1].
        total_steps: T (base steps); None means the end is not known, and rates are constant.

    Raises:
        InputError: total_steps < 1, an unknown name, or a callable schedule without total_steps.
        InputTypeError: schedule is neither a name nor callable, total_steps no whole number.

    Example:
        >>> [Horizon("linear", 4).factor(t) for t in range(4)]
        [1.0, 0.75, 0.5, 0.25]
    """

    def __init__(self, schedule: str | Callable[[float], float], total_steps: int | None) -> None:
        if total_steps is not None:
            if isinstance(total_steps, bool) or not isinstance(total_steps, int):
                raise InputTypeError(
                    f"total_steps={total_steps!r}: give the number of optimizer steps as an int, "
                    "e.g. len(loader) * epochs"
                )
            if total_steps < 1:
                raise InputError(f"total_steps={total_steps}: give the number of optimizer steps, at least 1")
        if isinstance(schedule, str):
            if schedule not in _SHAPES:
                raise InputError(f"schedule={schedule!r}: choose from {', '.join(_SHAPES)}, or pass a callable")
            shape = _SHAPES[schedule]
        elif callable(schedule):
            shape = schedule
            if total_steps is None:
                raise InputError("a callable schedule needs total_steps, to know the progress it is called with")
        else:
            raise InputTypeError(
                f"schedule={schedule!r}: pass a name or a callable of progress; a torch scheduler goes to scheduler="
            )
        self._shape = shape
        self._total_steps = total_steps
        self._warned = False

    def factor(self, step: int) -> float:
        """f(step / T); 1 where no end is known."""
        if self._total_steps is None:
            return 1.0
        value = float(self._shape(min(step, self._total_steps - 1) / self._total_steps))
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"the schedule returned {value} at step {step}: a factor is finite and at least 0")
        return value

    def ahead(self, step: int) -> float:
        """The largest factor still to come, this step's included (sampled at 33 points)."""
        if self._total_steps is None:
            return self.factor(step)
        left = max(self._total_steps - 1 - step, 0)
        return max(self.factor(step + left * part // 32) for part in range(33))

    def taken(self, step: int) -> None:
        """Note that base step ``step`` was taken; beyond the horizon that deserves a word."""
        if self._total_steps is not None and step >= self._total_steps and not self._warned:
            self._warned = True
            warnings.warn(
                f"more steps than total_steps={self._total_steps}: the rates stay at the last step's "
                f"({self.factor(step):.3g} of the tuned ones). Give HiDLR the real number of steps.",
                HidlrWarning,
                stacklevel=4,
            )

    def scale(self, index: int, group: ParamGroup, ratio: float) -> None:
        """The tuner writes ``tuned * factor`` itself at each step."""


class Composed:
    """A torch scheduler that the user steps; a change of a tuned rate is written where it will read it.

    A closed-form scheduler (LambdaLR, OneCycleLR, ...) recomputes the rate from what it remembers, a
    chainable one from the rate in the group: scaling both by the same ratio serves either kind.

    Args:
        scheduler: any of torch's, or a wrapper with a ``.scheduler`` (Accelerate).
        optimizer: the optimizer it must belong to.

    Raises:
        InputTypeError: not a scheduler, or of a kind that is not supported.
        InputError: it drives another optimizer.
    """

    def __init__(self, scheduler: Any, optimizer: Optimizer) -> None:
        inner = getattr(scheduler, "scheduler", scheduler)
        if not isinstance(inner, lr_scheduler.LRScheduler):
            raise InputTypeError(
                f"scheduler={type(scheduler).__name__}: pass a torch.optim.lr_scheduler, or use schedule= for "
                "a name or a callable of progress"
            )
        self._optimizer = optimizer
        self._schedulers = list(_flatten(inner))
        for part in self._schedulers:
            if unwrapped(getattr(part, "optimizer", optimizer)) is not optimizer:
                raise InputError(f"{type(part).__name__} drives another optimizer than the one HiDLR was given")

    def factor(self, step: int) -> float:
        """What the scheduler makes of the peak rates at present: below 1 in its warm-up and decay.

        The first group that has a peak above 0 speaks for all.
        """
        for group in self._optimizer.param_groups:
            peak = self.peak(group)
            if peak > 0:
                return read_rate(group) / peak
        return 1.0

    def ahead(self, step: int) -> float:
        """The largest factor still to come: at least 1, since a scheduler's plans cannot be asked for."""
        return max(1.0, self.factor(step))

    def peak(self, group: ParamGroup) -> float:
        """The rate that the scheduler's factor multiplies, as it remembers it."""
        return next(float(group[key]) for key in ("max_lr", "initial_lr", "lr") if key in group)

    def scale(self, index: int, group: ParamGroup, ratio: float) -> None:
        """Multiply the rate and every remembered origin of it."""
        write_rate(group, read_rate(group) * ratio)
        for key in ("initial_lr", "max_lr", "min_lr"):
            if key in group:
                group[key] = group[key] * ratio
        for part in self._schedulers:
            for name in ("base_lrs", "max_lrs", "_last_lr"):
                values = getattr(part, name, None)
                if isinstance(values, list | tuple) and len(values) > index:
                    # A list of its own: SequentialLR reports its child's, the user may have passed theirs.
                    own = list(values)
                    own[index] = own[index] * ratio
                    setattr(part, name, own)


def read_rate(group: ParamGroup) -> float:
    """The rate of a torch param group as a float, tensor or not."""
    return float(group["lr"])


def own_rates(groups: Sequence[ParamGroup]) -> None:
    """Give each group a rate of its own: torch puts one tensor ``lr`` into all of them."""
    seen: set[int] = set()
    for group in groups:
        if isinstance(group["lr"], torch.Tensor):
            if id(group["lr"]) in seen:
                group["lr"] = group["lr"].clone()
            seen.add(id(group["lr"]))


def write_rate(group: ParamGroup, rate: float) -> None:
    """Set the rate of a torch param group; a tensor (capturable, compiled) is filled in place."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _flatten(scheduler: lr_scheduler.LRScheduler) -> Iterator[lr_scheduler.LRScheduler]:
    # SequentialLR and ChainedScheduler hide the ones that do the work.
    yield scheduler
    for child in getattr(scheduler, "_schedulers", ()):
        yield from _flatten(child)


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


_SHAPES: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "cosine": _cosine,
    "constant": lambda progress: 1.0,
}
