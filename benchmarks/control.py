"""How a run trains, by its method's name: the model's optimizer and whoever sets its rates, built together."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

import hidlr
from benchmarks import optimizers, peers
from benchmarks.peers import PeerRun
from hidlr.errors import InputError
from hidlr.history import StepRecord
from hidlr.training.control import UniformRate
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from benchmarks.run import RunConfig

__all__ = ["OURS", "ScaledRate", "Trainer", "assemble"]

OURS = ("hidlr", "paper")
"""Methods that this package implements: what they do depends on its engine."""

Loss = Callable[[], Tensor]


class Trainer(Protocol):
    """Does the steps of a run.

    Attributes:
        probe_seconds: time spent so far on measuring the loss for rates, and on placing the step.
        forwards: forward passes spent on it.
        forwards_before_evaluate: training batches to hand to `before_evaluate`.
    """

    probe_seconds: float
    forwards: int
    forwards_before_evaluate: int

    def step(self, loss: Loss) -> float:
        """One step: forward, backward, update. Returns the loss; nothing was done if it is not finite."""

    def before_evaluate(self, forwards: Iterable[Callable[[], object]] = ()) -> None:
        """Put the model in the state to be judged."""

    def tuned(self) -> dict[str, float]:
        """The rates in the end, before the schedule's factor, by group (lr)."""


class ScaledRate:
    """One rate for all groups with warm-up and schedule, times a fixed factor for each group.

    Args:
        optimizer: its groups have names.
        multipliers: factor by group; 1 where a group is not named.
        rate: the peak (lr).
        schedule: "linear", "cosine" or "constant".
        steps: length of the run.
        warmup: share of the run to warm up over.

    Raises:
        InputError: a multiplier names no group.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        multipliers: Mapping[str, float],
        *,
        rate: float,
        schedule: str,
        steps: int,
        warmup: float,
    ) -> None:
        names = [group["name"] for group in optimizer.param_groups]
        unknown = sorted(set(multipliers) - set(names))
        if unknown:
            raise InputError(f"multiplier for {unknown[0]!r}: there is no such group, but {', '.join(names)}.")
        self._optimizer = optimizer
        self._factors = {name: multipliers.get(name, 1.0) for name in names}
        self._peak = rate
        self._uniform = UniformRate(optimizer, rate=rate, schedule=schedule, steps=steps, warmup=warmup)
        self._scale()

    def step(self, closure: Loss) -> None:
        """Move on by one step."""
        self._uniform.step(closure)
        self._scale()

    def tuned(self) -> dict[str, float]:
        """The peak rate of each group."""
        return {name: self._peak * factor for name, factor in self._factors.items()}

    def _scale(self) -> None:
        # UniformRate has just written the rate anew, so factors do not pile up.
        for group in self._optimizer.param_groups:
            group["lr"] *= self._factors[group["name"]]


class Beside:
    """A base optimizer, and a control that is called after each of its steps.

    Args:
        optimizer: takes the steps.
        control: its `step`; returns a record if it probed.
        tuned: the rates.
    """

    forwards_before_evaluate = 0

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        control: Callable[[Loss], StepRecord | None],
        tuned: Callable[[], dict[str, float]],
    ) -> None:
        self.probe_seconds = 0.0
        self.forwards = 0
        self._optimizer = optimizer
        self._control = control
        self._tuned = tuned

    def step(self, loss: Loss) -> float:
        """One step, as README's ten lines have it."""
        value = loss()
        number = value.item()
        if not math.isfinite(number):
            return number
        value.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        began = time.perf_counter()
        record = self._control(loss)
        if record is not None:
            self.probe_seconds += time.perf_counter() - began
            self.forwards += record.forwards
        self._optimizer.zero_grad()
        return number

    def before_evaluate(self, forwards: Iterable[Callable[[], object]] = ()) -> None:
        """Nothing is left to do."""

    def tuned(self) -> dict[str, float]:
        """The control's rates."""
        return self._tuned()


class Published:
    """A peer's run."""

    probe_seconds = 0.0
    forwards = 0

    def __init__(self, run: PeerRun) -> None:
        self.step = run.step
        self.before_evaluate = run.before_evaluate
        self.forwards_before_evaluate = run.forwards_before_evaluate
        self._run = run

    def tuned(self) -> dict[str, float]:
        """The rate of the last step, schedule included: there is one for the whole model."""
        return {"all": self._run.rate}


def assemble(config: "RunConfig", workload: Workload) -> tuple[nn.Module, Trainer]:
    """The model of a config's seed, and what trains it.

    Raises:
        InputError: an unknown name, or a setting that means nothing to the method.
        MissingExtraError: the method's package is absent.
    """
    model = workload.build(config.seed)
    model.train()
    defaults = workload.defaults
    rule = peers.HEURISTICS.get(config.method)
    scheme = config.groups or (rule.grouping if rule else defaults.groups)
    groups = hidlr.param_groups(model, workload.groupings.get(scheme, scheme))
    if rule is None and config.method not in ("uniform", *OURS):
        return model, _peer(config, model, groups, defaults.steps, defaults.weight_decay)
    optimizer = optimizers.build(config.optimizer, groups, config.rate, defaults.weight_decay, model)
    if config.method in OURS:
        return model, _ours(config, optimizer, defaults.steps)
    _refuse(config, "options")
    if rule is None:
        multipliers = dict(config.multipliers)
    else:
        _refuse(config, "multipliers", "groups")
        multipliers = dict(rule.multipliers([group["name"] for group in groups]) or ())
        if not multipliers:
            raise InputError(f"{config.method!r} says nothing about {config.workload!r}: leave it out.")
    rates = ScaledRate(
        optimizer,
        multipliers,
        rate=config.rate,
        schedule=config.schedule,
        steps=defaults.steps,
        warmup=config.warmup,
    )
    return model, Beside(optimizer, rates.step, rates.tuned)


def _ours(config: "RunConfig", optimizer: torch.optim.Optimizer, steps: int) -> Trainer:
    _refuse(config, "warmup", "multipliers")
    options: dict[str, Any] = {"total_steps": steps, **_plain(config.options)}
    if options["total_steps"] == "unknown":
        options["total_steps"] = None
    if config.method == "hidlr":
        tuner = hidlr.HiDLR(optimizer, schedule=config.schedule, **options)
    else:
        tuner = hidlr.HiDLR.paper(optimizer, schedule=config.schedule, **{"seed": config.seed, **options})
    return Beside(optimizer, tuner.step, lambda: dict(tuner.state_dict()["tuned"]))


def _peer(
    config: "RunConfig", model: nn.Module, groups: list[dict[str, Any]], steps: int, weight_decay: float
) -> Trainer:
    _refuse(config, "warmup", "multipliers", "groups", "options")
    peer = peers.get(config.method)
    if config.schedule != peer.schedule:
        raise InputError(f"{peer.name} is documented with a {peer.schedule} schedule, not {config.schedule!r}.")
    return Published(peer.build(model, groups, config.optimizer, steps, weight_decay, config.rate))


def _refuse(config: "RunConfig", *names: str) -> None:
    # A setting that does nothing would be a result under a false name.
    for name in names:
        if value := getattr(config, name):
            raise InputError(f"{name}={value!r} means nothing to method {config.method!r}: leave it out.")


def _plain(options: Sequence[tuple[str, float | str]]) -> dict[str, Any]:
    """Whole numbers as int: what counts steps insists on it, and what takes a float takes either."""
    return {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in options}
