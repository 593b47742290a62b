"""The same choice for another model: by name, by relative depth, by role."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from hidlr.errors import StateError
from hidlr.groups import Located, Place, located
from hidlr.selection.choice import GroupChoice, Match

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["transferred"]

_INDEX = re.compile(r"(?<![^.])\d+(?![^.])")  # a number that is a whole component of a name
_UNMATCHED = "(unmatched)"


@dataclass(frozen=True)
class _Source:
    """A parameter of the first model: its name, its group, where it stands."""

    name: str
    group: int
    form: str
    depth: float | None
    role: str


def transferred(selection: "Selection", other: nn.Module, least: float) -> dict[str, Any]:
    """Groups, places and match of a selection for another model.

    Raises:
        StateError: too little of the other model matches, or the selection does not know its parameters.
    """
    targets = located(other)
    sources = _sources(selection)
    if not sources:
        raise StateError(
            "the selection does not know its parameters: select from influence.located(model, groups), or build the "
            "optimizer from hidlr.param_groups"
        )
    exact, moved, unmatched = [], {}, []
    owner: dict[str, int] = {}
    depths = _depths(list(targets), {name: own.place for name, own in targets.items()})
    for name, own in targets.items():
        source = _like(own, depths[name], sources)
        if source is None:
            unmatched.append(name)
            continue
        owner[name] = source.group
        if source.name == name and source.depth == depths[name][1]:
            exact.append(name)
        else:
            moved[name] = source.name
    found = (len(exact) + len(moved)) / max(len(targets), 1)
    kept = {index for index, group in enumerate(selection.groups) if group.kept}
    if found < least or not kept & set(owner.values()):
        raise StateError(
            f"the models are too unlike: {len(exact) + len(moved)} of {len(targets)} parameters have a like, "
            f"{sum(index in kept for index in owner.values())} of them trained. Measure the other model itself, or "
            f"lower least={least:g}."
        )
    used = {*exact, *moved.values()}
    unused = [source.name for source in sources if source.group in kept and source.name not in used]
    groups = []
    for index, group in enumerate(selection.groups):
        names = [name for name in targets if owner.get(name) == index]
        size = _size(names, targets)
        groups.append(GroupChoice(group.name, group.kept, size, group.ppi, group.total, tuple(names)))
    groups = [group for group in groups if group.parameters]
    if unmatched:
        groups.append(GroupChoice(_UNMATCHED, False, _size(unmatched, targets), parameters=tuple(unmatched)))
    return {
        "groups": tuple(groups),
        "places": {name: own.place for name, own in targets.items()},
        "match": Match(tuple(exact), moved, tuple(unmatched), tuple(unused)),
    }


def _sources(selection: "Selection") -> list[_Source]:
    names = [name for group in selection.groups for name in group.parameters]
    depths = _depths(names, selection.places)
    return [
        _Source(name, index, *depths[name], selection.role_of(group, name))
        for index, group in enumerate(selection.groups)
        for name in group.parameters
    ]


def _depths(names: list[str], places: dict[str, Place]) -> dict[str, tuple[str, float | None]]:
    """Each name with its block's number taken out, and the block's relative depth.

    Which of several numbers is the block's: the one that the place tells, else the first.
    """
    counts: dict[str, int] = {}
    parts: dict[str, tuple[str, int] | None] = {}
    for name in names:
        place = places.get(name)
        wanted = re.search(r"(?:^|\.)layer_(\d+)$", place.layer) if place else None
        numbers = list(_INDEX.finditer(name))
        if place is not None:
            numbers = [n for n in numbers if wanted and n[0] == wanted[1]]
        if not numbers or (place is not None and place.depth is None):
            parts[name] = None
            continue
        before, after = name[: numbers[0].start()], name[numbers[0].end() :]
        parts[name] = (f"{before}*{after}", int(numbers[0][0]))
        counts[before] = max(counts.get(before, 0), int(numbers[0][0]) + 1)
    found: dict[str, tuple[str, float | None]] = {}
    for name in names:
        place, part = places.get(name), parts[name]
        if part is None:
            found[name] = (name, place.depth if place else None)
        else:
            form, index = part
            own = (index + 0.5) / counts[form.partition("*")[0]]
            found[name] = (form, place.depth if place and place.depth is not None else own)
    return found


def _like(target: Located, at: tuple[str, float | None], sources: list[_Source]) -> _Source | None:
    """What stands for a parameter: the same form at the nearest depth, else the same role."""
    form, depth = at
    same = [source for source in sources if source.form == form]
    if same:
        return _nearest(same, depth)
    same = [source for source in sources if source.role and source.role == target.place.role]
    same = [source for source in same if (source.depth is None) == (depth is None)]
    if not same:
        return None
    near = _nearest(same, depth)
    level = [source for source in same if source.depth == near.depth]
    # Of several groups at that depth, the one most of its parameters are in.
    most = Counter(source.group for source in level).most_common(1)[0][0]
    return next(source for source in level if source.group == most)


def _nearest(sources: list[_Source], depth: float | None) -> _Source:
    return min(sources, key=lambda source: abs((source.depth or 0.0) - (depth or 0.0)))


def _size(names: list[str], targets: dict[str, Located]) -> int:
    return sum(parameter.numel() for name in names for parameter in targets[name].parameters)
