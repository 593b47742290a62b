"""What an engine sees of a step, and what it decides: numbers only, never the model's tensors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from hidlr.plans import Point

__all__ = ["Decision", "Engine", "Finding", "LookBack", "Measure", "StepView"]

Measure = Callable[[Sequence[Point]], list[float]]
"""The loss at each point (float64), xi in units of the base step."""


@dataclass(frozen=True)
class StepView:
    """One base step as an engine sees it.

    Attributes:
        step: index of the base step, from 0.
        names: the group of each entry below.
        rates: float64 [K], the rates the step was taken with (units of ``lr``); what xi = 1 stands for.
        tuned: float64 [K], the same before the schedule's factor.
        slopes: float64 [K], b_k from the gradient in hand (loss per unit xi); nan where nothing moved.
        sizes: trainable entries of each group, d_k.
        factor: the schedule's factor, ``rates = tuned * factor``; under a torch scheduler the rate over its peak.
        base: loss at xi = 0.
        noise: error of one measured loss (loss): rounding, and what a repetition disagreed by.
        ahead: the largest factor still to come: the schedule may have a warm-up of its own.
        momentum: share of earlier steps in this one, in [0, 1); 0 if it depends on its batch alone.
        build_up: how many times longer steps become while a velocity fills; 1 for averages.
        back: the way that led here, if the engine asked for its beginning to be kept.
    """

    step: int
    names: tuple[str, ...]
    rates: Tensor
    tuned: Tensor
    slopes: Tensor
    sizes: tuple[int, ...]
    factor: float
    base: float
    noise: float
    ahead: float = 1.0
    momentum: float = 0.0
    build_up: float = 1.0
    back: "LookBack | None" = None

    @property
    def moving(self) -> Tensor:
        """Bool [K]: groups that the base step moved and whose rate is not 0."""
        return self.slopes.isfinite() & (self.rates > 0)


@dataclass(frozen=True)
class LookBack:
    """The way from a trailing average of earlier probed steps' starts to the start of this one, on its batch.

    None of the steps on the way was made of this batch, so what it says of them is unbiased, which a
    step's parabola on its own batch is not (docs/estimators.md).

    Attributes:
        slope: at the end of the way, from the gradient in hand (loss per whole way); positive is descent; nan if
            the gradient is not known.
        measure: the loss at a point of the way, 0 its beginning, 1 its end.
    """

    slope: float
    measure: Callable[[float], float]


@dataclass(frozen=True)
class Finding:
    """What one measurement says of one group, in units of xi.

    Attributes:
        slope: b_k (loss per unit xi).
        curvature: A_kk (loss per unit xi squared).
        noise: error of the losses behind it (loss).
        reason: why it was refused; "" if it was used.
    """

    slope: float
    curvature: float
    noise: float
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """What an engine makes of a step.

    Attributes:
        rates: float64 [K], the rates to place this step at, before the schedule's factor is counted
            again: the tuned rate of group k becomes ``tuned_k * rates_k / view.rates_k``.
        phase: what the engine was doing, for the record.
        findings: by index of the group; groups not measured are absent.
        note: why no rate changed; "" if some did.
        returns: put the parameters back to the beginning of the way looked back on, instead of on this step.
        forgets: then also drop what the optimizer remembers of them.
    """

    rates: Tensor
    phase: str
    findings: Mapping[int, Finding] = field(default_factory=dict)
    note: str = ""
    returns: bool = False
    forgets: bool = False


class Engine(Protocol):
    """A rule for the rates. It may keep state, as plain numbers that survive JSON."""

    @property
    def looks_back(self) -> float:
        """Weight, in [0, 1], of the start of the step just decided on in the point that the next probe looks back at.

        1 is that start alone, less a trailing average with those before it; 0 keeps nothing.
        """

    def due(self, step: int) -> bool:
        """Whether base step ``step`` should be measured."""

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Measure what the rule needs and say at which rates to place the step.

        The base loss is finite, unless there is a way to look back on.
        """

    def spend(self, step: int, points: int) -> None:
        """Learn that the probe of ``step`` measured so many points, the base included."""

    def state_dict(self) -> dict[str, Any]:
        """Plain data (numbers, strings, lists, dicts) to continue from."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
