"""``suggest_groups``: from a model, a loss and an optimizer to groups that are worth a rate of their own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr.compatibility import check_optimizer
from hidlr.errors import InputError
from hidlr.groups import By, Place, located, param_groups
from hidlr.measuring import MeasuredGroup, ShortRun, checked_closures
from hidlr.probe import Closure

from .merging import Cluster, merge, nearest
from .naming import name_of, unique
from .pairs import Estimate, PairedMeter, estimates
from .suggestion import GroupSuggestion, SuggestedGroup

__all__ = ["suggest_groups"]

_OWN = ("params", "name", "param_names")  # of a group; all else are options
_SHARP = 1.0  # standard error of log(rate) up to which a measurement says something


def suggest_groups(
    model: nn.Module,
    closure: Closure | Iterable[Closure],
    optimizer: Optimizer,
    max_groups: int = 8,
    *,
    by: By = "role_layer",
    steps: int = 48,
    probes: int = 4,
) -> GroupSuggestion:
    """Suggest groups: measure fine ones in a short run, and merge those whose optimal rate and influence agree.

    A twin of the optimizer takes a few dozen steps, as in `measure_influence`, after which everything is set back
    bit for bit; the second half of them is measured, since the first steps after a fresh initialisation are like no
    others. Two groups are alike where their optimal rates b_k / A_kk (3.2 of arXiv 2501.06954) differ by less than
    about 2 and their influence by less than about 10, or by less than their measurements' errors; the closest pair is
    merged first, until no two are alike and there are at most `max_groups`. Groups whose rate could not be told (to a
    factor of e) join the group of their role that is nearest in the model. Parameters for which the optimizer has
    different options (``lr``, ``weight_decay``, ...) are never merged.

    Under several processes call it before the model is wrapped, on the same batches everywhere, or pass
    `GroupSuggestion.by` of one process to the others.

    Args:
        model: the model whose parameters the optimizer has.
        closure: computes the loss of one batch, without backward; or several, of which step t takes the t-th.
        optimizer: any torch optimizer linear in ``lr``, at a usual rate. How it is grouped does not matter; its
            options do.
        max_groups: at most so many.
        by: the fine groups, as in `param_groups`: "role_layer" or "tensor", say.
        steps: length of the short run, whose first half only trains.
        probes: times that each group's curvature is measured, two forward passes each.

    Returns:
        The groups; `.param_groups` goes into a new optimizer, ``print`` shows a table.

    Raises:
        InputError: ``max_groups`` is below the number of different sets of options, no step, parameters that are not
            the model's, nothing trainable, a loss that is not finite, or no group could be measured.
        InputTypeError: something that is no closure, or an optimizer that cannot be tuned.
        ClosureError: a closure's loss does not depend on the parameters.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        >>> x = torch.randn(64, 3, dtype=torch.float64)
        >>> found = suggest_groups(model, lambda: (model(x) - 1).square().mean(), optimizer, max_groups=2)
        >>> len(found.groups) <= 2, sum(group.size for group in found.groups)
        (True, 41)
        >>> optimizer = torch.optim.SGD(found.param_groups)
    """
    optimizer = check_optimizer(optimizer)
    batches = checked_closures(closure)
    if max_groups < 1 or steps < 1 or probes < 1:
        raise InputError(f"max_groups={max_groups}, steps={steps}, probes={probes}: all must be at least 1")
    kinds = _kinds(optimizer)
    if len(kinds) > max_groups:
        raise InputError(_too_many(kinds, max_groups))
    parts = _parts(model, optimizer, kinds, by)
    meter, counted = PairedMeter(), _Counted(batches)
    measured = [MeasuredGroup(name, part.size, part.parameters) for name, part in sorted(parts.items())]
    ShortRun(optimizer, measured, counted.closures, WeakSet([model]), meter).take(steps, probes, settle=steps // 2)
    rates = {name: float(kinds[part.kind]["lr"]) for name, part in parts.items()}
    found = estimates(meter.found, {name: part.size for name, part in parts.items()}, rates)
    if not found:
        raise InputError(_nothing(meter))
    # A rate that is not known to a factor of e is like any other, and would bring unlike ones together.
    sharp = {name: one for name, one in found.items() if one.rate_spread <= _SHARP}
    return _suggestion(parts, kinds, sharp or found, max_groups, counted.forwards)


@dataclass(frozen=True)
class _Part:
    """A fine group: parameters that one scheme puts together and that have the same options."""

    kind: int
    parameters: list[Tensor]
    param_names: list[str]
    places: list[Place]

    @property
    def size(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters)


class _Counted:
    """Closures that count how often they are called."""

    def __init__(self, closures: Sequence[Closure]) -> None:
        self.forwards = 0
        self.closures = [self._counting(closure) for closure in closures]

    def _counting(self, closure: Closure) -> Closure:
        def counting() -> Tensor:
            self.forwards += 1
            return closure()

        return counting


def _kinds(optimizer: Optimizer) -> list[dict[str, Any]]:
    """The different sets of options of an optimizer's groups."""
    kinds: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        options = {key: value for key, value in group.items() if key not in _OWN}
        if any(p.requires_grad for p in group["params"]) and not any(_same(options, kind) for kind in kinds):
            kinds.append(options)
    if not kinds:
        raise InputError("the optimizer has no trainable parameter: nothing can be measured")
    return kinds


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
    return type(one) is type(other) and one == other


def _parts(model: nn.Module, optimizer: Optimizer, kinds: list[dict[str, Any]], by: By) -> dict[str, _Part]:
    """The fine groups by name, in the model's order."""
    kind_of: dict[int, int] = {}
    held = {id(parameter) for parameter in model.parameters()}
    for index, group in enumerate(optimizer.param_groups):
        options = {key: value for key, value in group.items() if key not in _OWN}
        for parameter in group["params"]:
            if not parameter.requires_grad:
                continue
            if id(parameter) not in held:
                raise InputError(
                    f"the optimizer's group {group.get('name', index)!r} has a parameter of shape "
                    f"{tuple(parameter.shape)} that is not the model's: build the optimizer from the model"
                )
            kind_of[id(parameter)] = next(k for k, kind in enumerate(kinds) if _same(options, kind))
    place_of = {id(p): own.place for own in located(model).values() for p in own.parameters}
    found: dict[tuple[str, int], _Part] = {}
    for group in param_groups(model, by):
        for parameter, name in zip(group["params"], group["param_names"], strict=True):
            if id(parameter) in kind_of:
                kind = kind_of[id(parameter)]
                part = found.setdefault((group["name"], kind), _Part(kind, [], [], []))
                part.parameters.append(parameter)
                part.param_names.append(name)
                part.places.append(place_of.get(id(parameter), Place("other", "rest")))
    names = unique([name for name, _ in found], [kinds[kind] for _, kind in found])
    order = {id(parameter): number for number, parameter in enumerate(model.parameters())}
    first = {name: order[id(part.parameters[0])] for name, part in zip(names, found.values(), strict=True)}
    parts = dict(zip(names, found.values(), strict=True))
    return {name: parts[name] for name in sorted(names, key=first.__getitem__)}


def _suggestion(
    parts: dict[str, _Part],
    kinds: list[dict[str, Any]],
    found: dict[str, Estimate],
    max_groups: int,
    forwards: int,
) -> GroupSuggestion:
    kind_of = {name: part.kind for name, part in parts.items()}
    lost = {part.kind for part in parts.values()} - {kind_of[name] for name in found}
    merged = merge(found, {name: kind_of[name] for name in found}, max_groups - len(lost))
    places = {name: (part.places[0].role, part.places[0].depth) for name, part in parts.items()}
    members: list[tuple[list[str], list[str], Cluster | None]] = []
    for kind in range(len(kinds)):
        clusters = merged.get(kind, [])
        rows: list[Cluster | None] = list(clusters) or [None]
        joined: list[list[str]] = [[] for _ in rows]
        for name in (name for name in parts if kind_of[name] == kind and name not in found):
            joined[nearest(clusters, places, name) if clusters else 0].append(name)
        for cluster, extra in zip(rows, joined, strict=True):
            together = {*(cluster.members if cluster else ()), *extra}
            members.append(([name for name in parts if name in together], extra, cluster))
    position = {name: number for number, name in enumerate(parts)}
    members.sort(key=lambda row: position[row[0][0]])
    everywhere = {
        name: (place.role, place.layer)
        for part in parts.values()
        for name, place in zip(part.param_names, part.places, strict=True)
    }
    own_names = [[name for member in row[0] for name in parts[member].param_names] for row in members]
    options = [kinds[kind_of[row[0][0]]] for row in members]
    names = unique([name_of(own, everywhere) for own in own_names], options)
    groups = tuple(
        SuggestedGroup(
            name=name,
            members=tuple(row[0]),
            unmeasured=tuple(row[1]),
            param_names=tuple(own),
            size=sum(parts[member].size for member in row[0]),
            rate=row[2].estimate.rate if row[2] else None,
            spread=row[2].estimate.rate_spread if row[2] else None,
            ppi=row[2].estimate.ppi if row[2] else None,
            options=kind,
        )
        for name, row, own, kind in zip(names, members, own_names, options, strict=True)
    )
    parameters = {
        name: tuple(p for member in row[0] for p in parts[member].parameters)
        for name, row in zip(names, members, strict=True)
    }
    return GroupSuggestion(groups, len(found), len(parts) - len(found), forwards, parameters)


def _too_many(kinds: list[dict[str, Any]], max_groups: int) -> str:
    differ = [key for key in kinds[0] if any(not _equal(kind.get(key), kinds[0][key]) for kind in kinds)]
    return (
        f"max_groups={max_groups}, but the optimizer has {len(kinds)} sets of options (they differ in "
        f"{', '.join(differ)}), which are never merged: pass max_groups={len(kinds)} or more, or build the optimizer "
        "with fewer"
    )


def _nothing(meter: PairedMeter) -> str:
    reasons = Counter(reason for own in meter.reasons.values() for reason in own)
    why = f" (most often: {reasons.most_common(1)[0][0]})" if reasons else " (no parameter moved: is every lr 0?)"
    return (
        f"no group's optimal rate could be measured{why}: give the optimizer a usual lr, compute the loss in float32 "
        "or better, pass several batches, or call it after some steps of training"
    )
