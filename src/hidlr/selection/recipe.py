"""Selections as JSON that people can read and edit: checked on loading, never executed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidlr.errors import StateError
from hidlr.groups import Place
from hidlr.selection.choice import GroupChoice

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["from_dict", "load", "save", "to_dict"]

_SCHEMA, _VERSION = "hidlr.selection", 1


def to_dict(selection: "Selection") -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "schema": _SCHEMA,
        "version": _VERSION,
        "rule": selection.rule,
        "groups": [
            {
                "name": group.name,
                "train": group.kept,
                "size": group.size,
                "ppi": group.ppi,
                "total": group.total,
                "parameters": [_parameter(name, selection.places.get(name)) for name in group.parameters],
            }
            for group in selection.groups
        ],
    }


def from_dict(data: Any) -> dict[str, Any]:
    """The fields of a `Selection`, from `to_dict`.

    Raises:
        StateError: an entry is missing or has the wrong type; the message says which.
    """
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
        raise StateError(f'this is no recipe: "schema" must be {_SCHEMA!r}; write one with selection.save')
    if data.get("version") != _VERSION:
        raise StateError(f"recipe of version {data.get('version')!r}; this hidlr reads version {_VERSION}")
    places: dict[str, Place] = {}
    groups = []
    for index, entry in enumerate(_get(data, "groups", list, "the recipe")):
        where = f"group {index}"
        if not isinstance(entry, dict):
            raise StateError(f"{where} must be an object, not {entry!r}")
        where = f"group {index} ({entry.get('name')!r})"
        names = []
        for parameter in _get(entry, "parameters", list, where):
            names.append(_get(parameter, "name", str, f"a parameter of {where}"))
            if "role" in parameter:
                places[names[-1]] = _place(parameter, f"{where}, parameter {names[-1]!r}")
        groups.append(
            GroupChoice(
                name=_get(entry, "name", str, where),
                kept=_get(entry, "train", bool, where),
                size=_count(entry, where),
                ppi=_number(entry, "ppi", where),
                total=_number(entry, "total", where),
                parameters=tuple(names),
            )
        )
    _check_whole(groups)
    return {"groups": tuple(groups), "rule": _get(data, "rule", str, "the recipe"), "places": places}


def save(selection: "Selection", path: str | Path) -> None:
    """Write a recipe.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(to_dict(selection), indent=2, allow_nan=False)
    Path(path).write_text(text + "\n", encoding="utf-8")


def load(path: str | Path) -> dict[str, Any]:
    """The fields of a `Selection`, from a file.

    Raises:
        StateError: it is no recipe.
        OSError: it cannot be read.
    """
    try:
        return from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise StateError(f"{path} cannot be used: {error}") from error


def _check_whole(groups: list[GroupChoice]) -> None:
    if not any(group.kept for group in groups):
        raise StateError('the recipe trains nothing: set "train": true in at least one group')
    for what, names in (
        ("group", [group.name for group in groups]),
        ("parameter", [name for group in groups for name in group.parameters]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise StateError(f"{what} {twice[0]!r} occurs twice: leave it in one place")


def _parameter(name: str, place: Place | None) -> dict[str, Any]:
    if place is None:
        return {"name": name}
    depth = {} if place.depth is None else {"depth": place.depth}
    return {"name": name, "role": place.role, "layer": place.layer, **depth}


def _place(entry: dict[str, Any], where: str) -> Place:
    depth = _number(entry, "depth", where) if "depth" in entry else None
    if depth is not None and not 0 < depth < 1:
        raise StateError(f"{where}: depth is in (0, 1), not {depth}")
    return Place(_get(entry, "role", str, where), _get(entry, "layer", str, where), depth)


def _get(entry: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise StateError(f"{where} lacks {key!r}")
    if not isinstance(entry[key], kind):
        raise StateError(f"{where}: {key!r} must be {_KINDS[kind]}, not {entry[key]!r}")
    return entry[key]


def _count(entry: dict[str, Any], where: str) -> int:
    size = _get(entry, "size", int, where)
    if isinstance(size, bool) or size < 0:
        raise StateError(f"{where}: 'size' must be a whole number of at least 0, not {size!r}")
    return int(size)


def _number(entry: dict[str, Any], key: str, where: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise StateError(f"{where}: {key!r} must be a number or null, not {value!r}")
    return float(value)


_KINDS = {list: "a list", str: "text", bool: "true or false", int: "a whole number"}
