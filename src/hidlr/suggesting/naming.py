"""Names that say what is in a group: whole roles, whole layers, roles within a range of layers; pure."""

import re
from collections.abc import Collection, Mapping, Sequence

from hidlr.groups import ROLES

__all__ = ["name_of", "unique"]

_TERMS = 3  # that a name has at most; the rest is counted
_NUMBERED = re.compile(r"(.*layer_)(\d+)")


def name_of(members: Collection[str], places: Mapping[str, tuple[str, str]]) -> str:
    """A readable name for some of a model's parameters.

    Args:
        members: the parameters.
        places: role and layer of every parameter of the model that is grouped.

    Example:
        >>> places = {f"{k}.{part}": (part, f"layer_{k}") for k in range(3) for part in ("norm", "mlp", "bias")}
        >>> name_of(["0.norm", "1.norm", "2.norm", "0.bias", "1.bias", "2.bias"], places)
        'bias + norm'
        >>> name_of(["0.mlp", "1.mlp"], places), name_of(["2.mlp", "2.bias", "2.norm"], places)
        ('layer_0..1/mlp', 'layer_2')
        >>> name_of(places, places)
        'all'
    """
    left = dict.fromkeys(members)
    if len(left) == len(places):
        return "all"
    terms: list[str] = []

    def take(own: list[str]) -> bool:
        """Whether all of these are left, which are then named."""
        if not own or any(name not in left for name in own):
            return False
        for name in own:
            del left[name]
        return True

    roles = sorted({role for role, _ in places.values()}, key=lambda role: (_rank(role), role))
    layers = list(dict.fromkeys(layer for _, layer in places.values()))
    terms += [role for role in roles if take([name for name, place in places.items() if place[0] == role])]
    whole = [layer for layer in layers if take([name for name, place in places.items() if place[1] == layer])]
    terms += _ranges(whole)
    for role in roles:
        within = [layer for layer in layers if take([n for n, place in places.items() if place == (role, layer)])]
        terms += [f"{span}/{role}" for span in _ranges(within)]
    terms += list(left)
    more = len(terms) - _TERMS
    return " + ".join(terms if more <= 1 else [*terms[:_TERMS], f"{more} more"])


def unique(names: Sequence[str], options: Sequence[Mapping[str, object]]) -> list[str]:
    """The names with what tells equal ones apart: an option that differs, else a number.

    Example:
        >>> unique(["mlp", "mlp"], [{"lr": 1, "weight_decay": 0.1}, {"lr": 1, "weight_decay": 0}])
        ['mlp, weight_decay=0.1', 'mlp, weight_decay=0']
    """
    named: list[str] = []
    for name, own in zip(names, options, strict=True):
        others = [other for twin, other in zip(names, options, strict=True) if twin == name and other is not own]
        differ = [key for key in own if any(str(other.get(key)) != str(own[key]) for other in others)]
        named.append(", ".join([name, *(f"{key}={own[key]}" for key in differ)]))
    found: list[str] = []
    for name in named:
        number, free = 1, name
        while free in found or (free != name and free in named):
            number += 1
            free = f"{name} ({number})"
        found.append(free)
    return found


def _rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _ranges(layers: Sequence[str]) -> list[str]:
    """Numbered layers that follow one another, as one: "layer_0..2"."""
    found: list[str] = []
    start = last = ""
    for layer in layers:
        before, now = _NUMBERED.fullmatch(last), _NUMBERED.fullmatch(layer)
        if found and before and now and before[1] == now[1] and int(now[2]) == int(before[2]) + 1:
            found[-1] = f"{start}..{now[2]}"
        else:
            found.append(layer)
            start = layer
        last = layer
    return found
