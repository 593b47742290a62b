"""What a peer is, and one training run with it: everything that its documentation asks for happens inside."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr.errors import InputError
from hidlr.schedules import Horizon

__all__ = ["Peer", "PeerRun", "Task"]


@dataclass(frozen=True)
class Task:
    """What a peer is built for.

    Attributes:
        model: the model.
        parameters: what it trains of it, in one list: all peers but the layer-wise ones are published so.
        base: name of the base optimizer that it stands beside.
        steps: optimizer steps of the run.
        weight_decay: decoupled weight decay, for those that have it.
        rate: its ``lr``.
        schedule: name of the schedule.
    """

    model: nn.Module
    parameters: list[nn.Parameter]
    base: str
    steps: int
    weight_decay: float
    rate: float
    schedule: str


class PeerRun:
    """A run with one optimizer and a schedule; what needs more is a subclass.

    Args:
        task: what it runs on.
        optimizer: the peer's optimizer, on the task's parameters.
        effective: the rate in use, where the optimizer keeps it elsewhere than in ``lr``.

    Attributes:
        forwards_before_evaluate: training batches to hand to `before_evaluate`; 0 for almost all.
    """

    forwards_before_evaluate: int = 0

    def __init__(self, task: Task, optimizer: Optimizer, effective: Callable[[Optimizer], float] | None = None) -> None:
        self.task = task
        self.optimizer = optimizer
        self._effective = effective
        self._horizon = Horizon(task.schedule, task.steps)
        self._taken = 0

    @property
    def graph_due(self) -> bool:
        """Whether the next step differentiates twice, which costs about another backward pass."""
        return False

    @property
    def rate(self) -> float:
        """The rate of the step just taken, schedule included."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]) if self._effective is None else self._effective(self.optimizer)

    def step(self, loss: Callable[[], Tensor]) -> float:
        """One training step: forward, backward, update.

        Args:
            loss: computes the scalar loss of the step's batch, forward only.

        Returns:
            The loss. Where it is not finite nothing was done: the run has diverged.
        """
        self.optimizer.zero_grad(set_to_none=True)
        value = loss()
        number = float(value.detach())
        if not math.isfinite(number):
            return number
        self._backward(value)
        factor = self._horizon.factor(self._taken)
        for group in self.optimizer.param_groups:
            group["lr"] = self.task.rate * factor
        self.optimizer.step()
        self._taken += 1
        self._after_step()
        return number

    def before_evaluate(self, forwards: Iterable[Callable[[], object]] = ()) -> None:
        """Put the model in the state to be judged.

        Args:
            forwards: `forwards_before_evaluate` passes over training batches, for models whose buffers
                follow the parameters.
        """
        del forwards

    def after_evaluate(self) -> None:
        """Put the model back to go on training."""

    def _backward(self, value: Tensor) -> None:
        value.backward()  # type: ignore[no-untyped-call]

    def _after_step(self) -> None:
        return None


@dataclass(frozen=True)
class Peer:
    """A published optimizer at its documented defaults.

    Attributes:
        name: what results call it.
        package: what pip calls its package.
        rates: its documented default ``lr`` beside each base optimizer that it applies to.
        schedule: what multiplies that rate: "linear" (the workloads' own), "cosine" or "constant".
        sets_own_rate: whether it claims to need no tuned rate; the others' default is a default only.
        documented: which options follow from its documentation, and where that says so.
        make: constructs a run.
        needs_graph: whether (some) steps differentiate twice.
    """

    name: str
    package: str
    rates: Mapping[str, float]
    schedule: str
    sets_own_rate: bool
    documented: str
    make: Callable[[Task], PeerRun] = field(repr=False)
    needs_graph: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", MappingProxyType(dict(self.rates)))

    @property
    def applies_to(self) -> tuple[str, ...]:
        """Base optimizers whose update it shares, so that the two compare."""
        return tuple(self.rates)

    def build(
        self,
        model: nn.Module,
        groups: Sequence[dict[str, Any]],
        base_optimizer: str,
        steps: int,
        weight_decay: float,
        rate: float | None = None,
    ) -> PeerRun:
        """A run at its start.

        Args:
            model: the model, as yet untrained.
            groups: `hidlr.param_groups`; they say what is trained, and are otherwise merged.
            base_optimizer: one of `applies_to`.
            steps: optimizer steps of the run.
            weight_decay: decoupled weight decay; ignored beside SGD, which goes without as well.
            rate: instead of the documented default, for peers that are tuned.

        Raises:
            InputError: it does not apply to that base optimizer.
            MissingExtraError: its package is absent.
        """
        if base_optimizer not in self.rates:
            raise InputError(
                f"{self.name} stands beside {', '.join(self.applies_to)}, not {base_optimizer!r}: choose one of them"
            )
        return self.make(
            Task(
                model=model,
                parameters=[parameter for group in groups for parameter in group["params"]],
                base=base_optimizer,
                steps=steps,
                weight_decay=weight_decay,
                rate=self.rates[base_optimizer] if rate is None else rate,
                schedule=self.schedule,
            )
        )


def no_batch_norm(model: nn.Module) -> bool:
    """Whether no buffer of the model follows what passes through it."""
    kinds = nn.modules.batchnorm._BatchNorm
    return not any(isinstance(module, kinds) and module.track_running_stats for module in model.modules())


def fill_missing(parameters: Iterable[Tensor]) -> None:
    """Give a zero gradient to parameters that the loss does not use, for optimizers that read all."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
