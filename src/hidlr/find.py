"""Rates without training: one set of probes from where the model stands, and no trace left."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakSet

from torch import nn
from torch.optim.optimizer import Optimizer

from hidlr import plans
from hidlr.compatibility import check_dense, check_groups, check_optimizer
from hidlr.displacement import Displacement
from hidlr.engines import Finding, LineMinimum, search_line
from hidlr.errors import InputError
from hidlr.history import GroupRecord, StepRecord
from hidlr.probe import Closure, Probe, Surroundings, differentiate
from hidlr.reduction import Group, Ranks
from hidlr.reports import Curve, Summary, parabola_figure, summary
from hidlr.twin import twin_of

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


def find_rates(model: nn.Module, optimizer: Optimizer, closure: Closure, *, process_group: Group = False) -> RateReport:
    """Suggest a rate for each group from one batch, as `HiDLR` would at its first step.

    Runs the closure with gradients once, lets a twin of the optimizer take one step, and measures
    the loss along it. Parameters, gradients, optimizer state, buffers, modes and random states are
    afterwards what they were.

    Args:
        model: the model whose parameters the optimizer has.
        optimizer: any torch optimizer linear in ``lr``; its rates are only a start.
        closure: computes the loss of one batch; no backward.
        process_group: the ranks that measure together, each its part of the batch; None is all of them, the
            default this process alone.

    Returns:
        Rates, curves and a table. A group whose own parabola was refused gets the joint one's rate.

    Raises:
        InputError: no group could move, the model does not hold the optimizer's parameters, or no
            convex descent was found, or the parameters are sharded over other ranks.
        ClosureError: the closure's loss does not depend on the parameters.

    Example:
        >>> import torch
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
    ranks = Ranks(process_group)
    ranks.check(flat)
    surroundings = Surroundings(flat, [closure], known)
    displacement: Displacement | None = None
    try:
        differentiate(closure, "find_rates")
        surroundings.set_back()
        check_dense(flat)
        displacement = Displacement(parameters, keep_gradients=True)  # some optimizers write to them
        twin_of(optimizer).step()
        slopes = ranks.settle(displacement.slopes(ranks), {})
    finally:
        surroundings.close()
        if displacement is not None:
            displacement.finish()
            displacement.place([0.0] * len(names))
    displacement.place([1.0] * len(names))
    try:
        with Probe(displacement, closure, flat, known, ranks) as probe:
            before = [float(group["lr"]) for group in optimizer.param_groups]
            sizes = [sum(p.numel() for p in group) for group in parameters]
            return _measure(names, before, sizes, slopes, probe)
    finally:
        displacement.place([0.0] * len(names))


@dataclass(frozen=True)
class _Own:
    """One group's parabola in units of xi, and the samples drawn beside it."""

    minimum: float
    finding: Finding
    xis: tuple[float, ...]
    losses: tuple[float, ...]


def _measure(
    names: list[str],
    before: list[float],
    sizes: list[int],
    slopes: list[float],
    probe: Probe,
) -> RateReport:
    count = len(names)
    moving = [rate > 0 and math.isfinite(slope) for rate, slope in zip(before, slopes, strict=True)]
    (base,) = probe.measure([(0.0,) * count])
    if not math.isfinite(base):
        raise InputError(f"the loss is {base} where the model stands: nothing can be measured there")
    if not any(moving):
        raise InputError("no group moved: every lr is 0, or no parameter got a gradient from the closure")
    noise = probe.noise(base)

    def search(direction: list[float]) -> LineMinimum | None:
        slope = sum(b * xi for b, xi in zip(slopes, direction, strict=True) if math.isfinite(b))
        return search_line(probe.measure, direction, slope, base, noise)

    joint = search([float(moves) for moves in moving])
    if joint is None:
        raise InputError("no minimum along the optimizer's step: is the loss bounded, and the batch the same?")
    own: dict[int, _Own] = {}
    for k in (k for k in range(count) if moving[k]):
        line = search([joint.minimum * (i == k) for i in range(count)])
        minimum = joint.minimum * (line.minimum if line else 1.0)
        if line is None:
            found = Finding(slopes[k], math.nan, noise, "no minimum along the group's step")
        else:
            found = Finding(line.slope / joint.minimum, line.curvature / joint.minimum**2, noise)
        xis = tuple(sample * minimum for sample in _SAMPLES)
        own[k] = _Own(minimum, found, (0.0, *xis), (base, *probe.measure(plans.axis(count, k, xis))))
    together = search([own[k].minimum if k in own else 0.0 for k in range(count)])
    common = together.minimum if together else joint.minimum / max(part.minimum for part in own.values())
    after = [before[k] * own[k].minimum * common if k in own else before[k] for k in range(count)]
    record = StepRecord(
        step=0,
        phase="find",
        groups=tuple(
            GroupRecord.of(names[k], sizes[k], before[k], after[k], own[k].finding if k in own else None)
            for k in range(count)
        ),
        points=tuple(probe.points),
        losses=tuple(probe.losses),
        forwards=probe.forwards,
    )
    curves = tuple(_curve(names[k], before[k], base, part) for k, part in own.items())
    return RateReport(record.rates, curves, record, common)


def _curve(name: str, rate: float, base: float, own: _Own) -> Curve:
    found = own.finding
    return Curve(
        name=name,
        rates=tuple(xi * rate for xi in own.xis),
        losses=own.losses,
        base_loss=base,
        slope=found.slope / rate,
        curvature=found.curvature / rate**2,
        best_rate=None if found.reason else own.minimum * rate,
        reason=found.reason,
    )
