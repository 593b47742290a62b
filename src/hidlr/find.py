"""Rates without training: one set of probes from where the model stands, and no trace left."""

import copy
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr import plans
from hidlr.compatibility import check_dense, check_groups, check_optimizer
from hidlr.displacement import Displacement
from hidlr.engines import Finding, search_line
from hidlr.errors import ClosureError, InputError
from hidlr.history import GroupRecord, StepRecord
from hidlr.probe import Closure, Probe, Surroundings
from hidlr.reports import Curve, Summary, parabola_figure, summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RateReport", "find_rates"]

# Where the curves are sampled for the picture, in multiples of each parabola's minimum.
_SAMPLES = (-0.5, 0.25, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class RateReport:
    """What `find_rates` found.

    Attributes:
        rates: suggested rate of each group, by name (units of ``lr``); groups at lr 0 stay at 0.
        curves: measured losses and fitted parabola of each group that moved (Fig. 1 of arXiv 2501.06954).
        record: the same as a `StepRecord`.
        common: factor between each group's own minimum and its suggested rate, from a line search with
            all groups moving together: what the diagonal of A leaves out.
    """

    rates: dict[str, float]
    curves: tuple[Curve, ...]
    record: StepRecord = field(repr=False)
    common: float

    def summary(self) -> Summary:
        """Groups, suggested rates, slopes, curvatures, influence: a table to print."""
        sizes = {group.name: group.size for group in self.record.groups}
        return summary([self.record], rates=self.rates, sizes=sizes)

    def plot(self) -> "Figure":
        """Measured losses and parabolas, a panel per group.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        return parabola_figure(self.curves)

    def __str__(self) -> str:
        rates = ", ".join(f"{name!r}: {rate:.3g}" for name, rate in self.rates.items())
        return f"{self.summary()}\nrates = {{{rates}}}"


def find_rates(model: nn.Module, optimizer: Optimizer, closure: Closure) -> RateReport:
    """Suggest a rate for each group from one batch, as `HiDLR` would at its first step.

    Runs the closure with gradients once, lets a twin of the optimizer take one step, and measures
    the loss along it. Parameters, gradients, optimizer state, buffers, modes and random states are
    afterwards what they were.

    Args:
        model: the model whose parameters the optimizer has.
        optimizer: any torch optimizer linear in ``lr``; its rates are only a start.
        closure: computes the loss of one batch; no backward.

    Returns:
        Rates, curves and a table. A group whose own parabola was refused gets the joint one's rate.

    Raises:
        InputError: no group could move, the model does not hold the optimizer's parameters, or no
            convex descent was found.
        ClosureError: the closure's loss does not depend on the parameters.

    Example:
        >>> model = nn.Linear(3, 1, dtype=torch.float64)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
        >>> x = torch.randn(64, 3, dtype=torch.float64)
        >>> report = find_rates(model, optimizer, lambda: model(x).square().mean())
        >>> list(report.rates)
        ['all']
    """
    optimizer = check_optimizer(optimizer)
    names = check_groups(optimizer)
    held = {id(parameter) for parameter in model.parameters()}
    parameters = [[p for p in group["params"] if p.requires_grad] for group in optimizer.param_groups]
    for name, group in zip(names, parameters, strict=True):
        if any(id(parameter) not in held for parameter in group):
            raise InputError(f"group {name!r} has parameters that are not the model's: build the optimizer from it")
    known: WeakSet[nn.Module] = WeakSet([model])
    flat = [parameter for group in parameters for parameter in group]
    surroundings = Surroundings(flat, [closure], known)
    displacement: Displacement | None = None
    try:
        _differentiate(closure)
        surroundings.set_back()
        check_dense(flat)
        displacement = Displacement(parameters)
        _twin(optimizer).step()
        slopes = displacement.slopes()
    finally:
        surroundings.close()
        if displacement is not None:
            displacement.finish()
            displacement.place([0.0] * len(names))
    displacement.place([1.0] * len(names))
    try:
        return _measure(optimizer, names, parameters, displacement, slopes, closure, known)
    finally:
        displacement.place([0.0] * len(names))


def _measure(
    optimizer: Optimizer,
    names: list[str],
    parameters: list[list[Tensor]],
    displacement: Displacement,
    slopes: list[float],
    closure: Closure,
    known: "WeakSet[nn.Module]",
) -> RateReport:
    before = [float(group["lr"]) for group in optimizer.param_groups]
    moving = [rate > 0 and slope == slope for rate, slope in zip(before, slopes, strict=True)]
    if not any(moving):
        raise InputError("no group moved: every lr is 0, or no parameter got a gradient from the closure")
    count = len(names)
    with Probe(displacement, closure, [p for group in parameters for p in group], known) as probe:
        (base,) = probe.measure([(0.0,) * count])
        if not abs(base) < float("inf"):
            raise InputError(f"the loss is {base} where the model stands: nothing can be measured there")
        noise = probe.noise(base)
        direction = [float(moves) for moves in moving]
        joint = search_line(probe.measure, direction, sum(s for s in slopes if s == s), base, noise)
        if joint is None:
            raise InputError("no minimum along the optimizer's step: is the loss bounded, and the batch the same?")
        own: list[float] = list(direction)
        curves: list[Curve] = []
        findings: dict[int, Finding] = {}
        for k in range(count):
            if not moving[k]:
                continue
            axis = [float(i == k) for i in range(count)]
            start = [entry * joint.minimum for entry in axis]
            line = search_line(probe.measure, start, slopes[k] * joint.minimum, base, noise)
            own[k] = joint.minimum * (line.minimum if line else 1.0)
            xis = [0.0, *(sample * own[k] for sample in _SAMPLES)]
            losses = [base, *probe.measure(plans.axis(count, k, xis[1:]))]
            slope = line.slope / joint.minimum if line else slopes[k]
            curvature = line.curvature / joint.minimum**2 if line else float("nan")
            findings[k] = Finding(slope, curvature, noise, "" if line else "no minimum along the group's step")
            curves.append(
                Curve(
                    name=names[k],
                    rates=tuple(xi * before[k] for xi in xis),
                    losses=tuple(losses),
                    base_loss=base,
                    slope=slope / before[k],
                    curvature=curvature / before[k] ** 2,
                    best_rate=own[k] * before[k] if line else None,
                    reason=findings[k].reason,
                )
            )
        together = sum(s * xi for s, xi in zip(slopes, own, strict=True) if s == s)
        final = search_line(probe.measure, [xi if moves else 0.0 for xi, moves in zip(own, moving, strict=True)],
                            together, base, noise)  # fmt: skip
        common = final.minimum if final else joint.minimum / max(own)
    rates = {
        name: rate * xi * common if moves else rate
        for name, rate, xi, moves in zip(names, before, own, moving, strict=True)
    }
    records = tuple(
        GroupRecord(
            name=names[k],
            size=sum(p.numel() for p in parameters[k]),
            rate_before=before[k],
            rate_after=rates[names[k]],
            slope=findings[k].slope / before[k] if k in findings else None,
            curvature=findings[k].curvature / before[k] ** 2 if k in findings else None,
            noise=noise if k in findings else None,
            accepted=k in findings and not findings[k].reason,
            reason=findings[k].reason if k in findings else "",
        )
        for k in range(count)
    )
    record = StepRecord(0, "find", records, tuple(probe.points), tuple(probe.losses), probe.forwards)
    return RateReport(rates, tuple(curves), record, common)


def _differentiate(closure: Closure) -> None:
    with torch.enable_grad():
        loss: Any = closure()
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad):
            raise ClosureError(
                "find_rates needs a closure that returns a scalar loss connected to the parameters, "
                "`lambda: loss_fn(model(x), y)`, without no_grad, .item() or backward()"
            )
        loss.backward()


def _twin(optimizer: Optimizer) -> Optimizer:
    """An optimizer of the same parameters with a copy of the state: its step leaves the original's alone."""
    shared: dict[int, Any] = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.deepcopy(optimizer, shared)
