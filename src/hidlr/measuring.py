"""Influence without training: a short run along the optimizer's own steps, and then everything set back."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr import plans
from hidlr.compatibility import check_dense, check_groups, check_optimizer
from hidlr.displacement import Displacement
from hidlr.engines.findings import finding
from hidlr.errors import InputError, InputTypeError
from hidlr.groups import By, param_groups
from hidlr.influence import Influence, InfluenceMeter
from hidlr.probe import Closure, Probe, RandomState, Surroundings, differentiate
from hidlr.twin import twin_of

__all__ = ["MeasuredGroup", "Meter", "ShortRun", "checked_closures", "measure_influence"]

# A bend of so many times the rounding of a loss is measured to about a percent, and one of so many times what losses
# stray by under bfloat16 to about five; longer probes see less of the curvature where the model stands.
_ABOVE_ROUNDING, _ABOVE_LEVEL = 1000.0, 20.0
_NEARER, _FARTHER = 2.0, 30.0  # how far from it a bend may be without another try; half of it is still believed
_AIM = 3.0  # so many times it is aimed for, between the two
_STRAYS = 4  # samples of the latter, taken at the first steps
_TRIES = 4  # ten times farther each, if need be
_CURVATURES, _ROUNDS = 400, 12  # how many are measured by default in all, and at most of each group
_LONGEST = 1024.0  # of a probe, in steps: what bends so little there has no optimum worth naming


class Meter(Protocol):
    """Takes in what a short run finds."""

    def observe(
        self,
        name: str,
        size: int,
        *,
        slope: float | None = None,
        curvature: float | None = None,
        move: float = 1.0,
        reason: str = "",
        rate: float | None = None,
    ) -> None:
        """One group's slope, or its curvature, which a step gives first; see `InfluenceMeter.observe`."""


@dataclass(frozen=True)
class MeasuredGroup:
    """What is measured as one, under a name of its own.

    Attributes:
        name: as the meter hears it.
        size: trainable entries, d_k.
        parameters: which they are.
    """

    name: str
    size: int
    parameters: list[Tensor]


def measure_influence(
    model: nn.Module,
    closures: Closure | Iterable[Closure],
    *,
    optimizer: Optimizer,
    steps: int = 24,
    by: By | None = None,
    probes: int | None = None,
) -> Influence:
    """Measure which groups matter in a short run, after which all is as it was, bit for bit.

    A twin of the optimizer takes a few dozen steps at the optimizer's rates. The gradient in hand gives
    every group's slope at every step for nothing; curvatures cost two forward passes each. All groups are
    measured on the same steps, so that what differs from batch to batch differs for all. Then parameters,
    gradients, optimizer state, buffers, modes and random states are set back.
    Needs one copy of the parameters, two more while it measures, and one of the optimizer's state.

    Args:
        model: the model whose parameters the optimizer has.
        closures: each computes the loss of one batch, without backward; step t takes the t-th, and begins again
            after the last. A new head should have learnt a little before (`settle_head`).
        optimizer: any torch optimizer linear in ``lr``. Its rates are those of the short run: take a usual one.
        steps: length of the run.
        by: how to group, as in `param_groups`, e.g. "role_layer" or "tensor"; None takes the optimizer's groups.
        probes: how often to measure each group's curvature, on steps spread evenly over the run; None is 12 times,
            with many groups fewer: as often as makes 400 curvatures, but at least once.

    Returns:
        The influence of each group, with the names and places of its parameters.

    Raises:
        InputError: no closure, no step, nothing to measure, or a loss that is not finite.
        InputTypeError: something that is no closure.
        ClosureError: a closure's loss does not depend on the parameters.

    Example:
        >>> model = nn.Linear(3, 1, dtype=torch.float64)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> x = torch.randn(64, 3, dtype=torch.float64)
        >>> found = measure_influence(
        ...     model, lambda: (model(x) - 1).square().mean(), optimizer=optimizer, steps=3, by="tensor"
        ... )
        >>> found.sizes
        {'weight': 3, 'bias': 1}
    """
    optimizer = check_optimizer(optimizer)
    batches = checked_closures(closures)
    if steps < 1 or (probes is not None and probes < 1):
        raise InputError(f"steps={steps}, probes={probes}: measure at least once in at least one step")
    groups, described = _grouped(model, optimizer, by)
    if probes is None:
        probes = max(1, min(_ROUNDS, _CURVATURES // len(groups)))
    meter = InfluenceMeter()
    for group in groups:
        meter.observe(group.name, group.size)
    ShortRun(optimizer, groups, batches, WeakSet([model]), meter).take(steps, probes)
    return Influence.of(meter).located(model, described)


class ShortRun:
    """The short run: everything that it changes, and how it is set back.

    Args:
        optimizer: the original, whose twin takes the steps.
        groups: what to measure.
        batches: closures, in turn.
        known: modules whose buffers and modes are set back.
        meter: takes in what is found.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        groups: list[MeasuredGroup],
        batches: Sequence[Closure],
        known: "WeakSet[nn.Module]",
        meter: Meter,
    ) -> None:
        self._optimizer = optimizer
        self._groups = groups
        self._batches = batches
        self._known = known
        self._meter = meter
        # All that the optimizer moves, not only what is measured.
        self._parameters = list(
            dict.fromkeys(p for group in optimizer.param_groups for p in group["params"] if p.requires_grad)
        )
        # Size of each group's curvature when last seen, per squared length of its move (loss per length squared).
        self._stiffness: dict[int, float] = {}
        # By how much losses were seen to stray from a smooth curve near the step's start and farther out (loss).
        self._strays: list[tuple[float, float]] = []

    def take(self, steps: int, probes: int, *, settle: int = 0) -> None:
        """Take the steps, measuring every group's curvature on some of them; set everything back.

        Args:
            steps: length of the run.
            probes: times that each group's curvature is measured.
            settle: first steps that only train.
        """
        surroundings = Surroundings(self._parameters, self._batches, self._known)
        start = [parameter.detach().clone() for parameter in self._parameters]
        twin = twin_of(self._optimizer)
        # Each at the end of its part of the run: an optimizer's first step is often longer than all others.
        measured = steps - settle
        times = min(probes, measured)
        due = {settle + math.ceil(measured * part / times) - 1 for part in range(1, times + 1)}
        try:
            for step in range(steps):
                closure = self._batches[step % len(self._batches)]
                if step < settle:
                    self._advance(twin, closure)
                else:
                    self._step(twin, closure, step in due)
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._parameters, start)
            surroundings.close()

    def _advance(self, twin: Optimizer, closure: Closure) -> None:
        differentiate(closure, "measure_influence")
        check_dense(self._parameters)
        twin.step()
        for parameter in self._parameters:
            parameter.grad = None

    def _step(self, twin: Optimizer, closure: Closure, due: bool) -> None:
        devices = {parameter.device for parameter in self._parameters}
        before = RandomState(devices)
        differentiate(closure, "measure_influence")
        after = RandomState(devices)
        before.set_back()  # probes draw the same dropout masks as the gradient did
        check_dense(self._parameters)
        # Some optimizers write to the gradients in their step.
        displacement = Displacement([group.parameters for group in self._groups], keep_gradients=True)
        twin.step()
        slopes, moves = displacement.slopes(), displacement.squares()
        moving = [k for k, slope in enumerate(slopes) if math.isfinite(slope) and moves[k] > 0]
        with Probe(displacement, closure, self._parameters, self._known) as probe:
            (base,) = probe.measure([(0.0,) * len(self._groups)])
            if not math.isfinite(base):
                raise InputError(f"the loss is {base}: lower the optimizer's lr, or look at the batch")
            if len(self._strays) < _STRAYS:
                self._stray(slopes, moving, probe)
            for k in moving if due else ():
                self._measure(k, slopes[k], moves[k], base, probe)
            displacement.place_end()
        for k in moving:
            self._meter.observe(self._groups[k].name, self._groups[k].size, slope=slopes[k], move=moves[k], rate=1.0)
        for parameter in self._parameters:
            parameter.grad = None
        after.set_back()

    def _measure(self, k: int, slope: float, move: float, base: float, probe: Probe) -> None:
        """One group's curvature by central differences: the cubic part of the loss cancels."""
        noise = probe.noise(base)
        size = self._first_size(k, move, noise)
        for _ in range(_TRIES):  # again where the first was too near or too far to tell
            ahead, behind = probe.measure(plans.axis(len(self._groups), k, [size, -size]))
            curvature = (ahead + behind - 2 * base) / size**2
            bend, wanted = abs(curvature) * size**2 / 2, self._wanted(noise)
            if not math.isfinite(curvature):
                better = size / 16
            elif wanted / _NEARER <= bend <= wanted * _FARTHER:
                break
            else:
                better = _size(max(abs(curvature), wanted / 50 / size**2), _AIM * wanted)
            if better == size:
                break
            size = better
        found = finding(slope, curvature, size, max(noise, self._level / 3))
        # A batch whose slope points uphill still has a curvature, and its slope belongs in the mean.
        reason = "" if found.reason == "not a descent direction" else found.reason
        if math.isfinite(curvature) and curvature != 0:
            self._stiffness[k] = abs(curvature) / move
        own = self._groups[k]
        self._meter.observe(own.name, own.size, curvature=curvature, move=move, reason=reason)

    def _first_size(self, k: int, move: float, noise: float) -> float:
        """Where to probe first (steps): as the group's own curvature says, or that of the others."""
        if not self._stiffness:
            return 1.0
        stiffness = self._stiffness.get(k, statistics.median(self._stiffness.values()))
        return _size(stiffness * move, _AIM * self._wanted(noise))

    def _stray(self, slopes: list[float], moving: list[int], probe: Probe) -> None:
        """How far losses lie from a smooth curve along the whole step: what low precision adds to rounding.

        The odd part of L(h) - L(0) is -b h + c h^3 + ..., and b is known. 64 times what is missing at h/4 less what is
        missing at h leaves no c, but the noise of both, and what is of fifth order.
        """
        direction = [float(k in moving) for k in range(len(slopes))]
        whole = sum(slopes[k] for k in moving)
        missing = []
        for size in (1 / 16, 1 / 4, 1.0):
            ahead, behind = probe.measure(plans.along(direction, [size, -size]))
            missing.append((behind - ahead) / 2 - whole * size)
        near, far = (abs(64 * a - b) / math.sqrt(64**2 + 1) for a, b in itertools.pairwise(missing))
        if math.isfinite(near) and math.isfinite(far):
            self._strays.append((near, far))

    @property
    def _level(self) -> float:
        """By how much losses stray from a smooth curve (loss).

        Noise falls no faster than the length of a probe, by 4; what is of fifth order by 1024.
        """
        # 1.5 times the median is the deviation of normal noise, and forgives a first step that is far too long.
        return 1.5 * statistics.median(min(far, 16 * near) for near, far in self._strays) if self._strays else 0.0

    def _wanted(self, noise: float) -> float:
        """The bend to aim for (loss)."""
        return max(_ABOVE_ROUNDING * noise, _ABOVE_LEVEL * self._level)


def _size(curvature: float, bend: float) -> float:
    """How far to probe for a bend (steps)."""
    return min(math.sqrt(2 * bend / abs(curvature)), _LONGEST) if curvature else _LONGEST


def _grouped(
    model: nn.Module, optimizer: Optimizer, by: By | None
) -> tuple[list[MeasuredGroup], Sequence[dict[str, Any]]]:
    names = check_groups(optimizer)
    if by is None:
        described: list[dict[str, Any]] = [
            {"name": name, "params": list(dict.fromkeys(p for p in group["params"] if p.requires_grad))}
            for name, group in zip(names, optimizer.param_groups, strict=True)
        ]
    else:
        tuned = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        described = [
            {"name": group["name"], "params": [p for p in group["params"] if id(p) in tuned]}
            for group in param_groups(model, by)
        ]
    described = [group for group in described if group["params"]]
    if not described:
        raise InputError("the optimizer has none of the model's trainable parameters: nothing can be measured")
    groups = [
        MeasuredGroup(group["name"], sum(p.numel() for p in group["params"]), list(group["params"]))
        for group in described
    ]
    return groups, described


def checked_closures(closures: Any) -> list[Callable[[], Tensor]]:
    """One closure or several as a list.

    Raises:
        InputTypeError: something that is no closure.
        InputError: there is none.
    """
    batches = [closures] if callable(closures) else list(closures) if isinstance(closures, Iterable) else [closures]
    for closure in batches:
        if not callable(closure):
            raise InputTypeError(
                f"closures must be callables that compute a loss, not {type(closure).__name__}: pass e.g. "
                "[lambda batch=batch: loss_fn(model, batch) for batch in batches]"
            )
    if not batches:
        raise InputError("no closures: pass one per batch, a few dozen for a steady ranking")
    return batches
