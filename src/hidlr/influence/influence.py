"""Influence of each group: what was measured, with its uncertainty, and where its parameters stand."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from hidlr.errors import InputError, StateError
from hidlr.groups import Place, canonical_name, located
from hidlr.history import History, StepRecord
from hidlr.influence.meter import InfluenceMeter

__all__ = ["Influence", "members_of", "place_from"]

_SCHEMA, _VERSION = "hidlr.influence", 1


@dataclass(frozen=True)
class Influence:
    """Influence of each group, keyed by its name.

    From Xu et al., arXiv 2501.06954, section 5.1. Only groups with an accepted, convex measurement
    have an entry in `ppi` and `total`; every group has one in `sizes`, `measured` and `refused`.

    Attributes:
        ppi: per-parameter influence b_k^2 / (A_kk d_k) (loss per parameter).
        total: decrease of the loss that the group alone offers at its optimum, b_k^2 / (2 A_kk) (loss).
        sizes: trainable entries of each group, d_k.
        measured: accepted measurements of each group.
        refused: refused measurements of each group.
        nonconvex: those of the refused whose curvature was not above 0.
        error: standard error of each `ppi`, from the spread over measurements (loss per parameter); groups
            measured once have none.
        decrease: what the group took off the loss during training, b eta - A eta^2 / 2 summed over the steps
            at the rates really used; a measurement stands for the steps until the next (loss).
        members: names of the parameters in each group, without what wrappers add; empty where not known.
        places: role, layer and depth of each of these parameters; empty where not known.
    """

    ppi: dict[str, float]
    total: dict[str, float]
    sizes: dict[str, int]
    measured: dict[str, int]
    refused: dict[str, int]
    nonconvex: dict[str, int] = field(default_factory=dict)
    error: dict[str, float] = field(default_factory=dict)
    decrease: dict[str, float] = field(default_factory=dict)
    members: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    places: dict[str, Place] = field(default_factory=dict, repr=False)

    @property
    def mean_ppi(self) -> float:
        """Of the model as a whole: the groups' b_k^2 / A_kk over all their parameters (loss per parameter)."""
        size = sum(self.sizes[name] for name in self.ppi)
        return 2 * sum(self.total.values()) / size if size else math.nan

    @property
    def ranked(self) -> list[str]:
        """Groups by `ppi`, the highest first; those without one left out."""
        return sorted(self.ppi, key=lambda name: -self.ppi[name])

    @classmethod
    def from_records(cls, records: Iterable[StepRecord]) -> "Influence":
        """Average slope and curvature over a run's accepted probes, then take their ratio.

        The ratio of averages is far less noisy than the average of ratios: a single measurement's
        curvature may be close to zero. For the same reason the curvatures' average is the geometric mean.

        Example:
            >>> from hidlr.history import GroupRecord
            >>> record = StepRecord(0, "", (GroupRecord("bias", 4, 1.0, 1.0, 2.0, 0.5, 1e-6, True),))
            >>> Influence.from_records([record]).ppi
            {'bias': 2.0}
        """
        meter = InfluenceMeter()
        for record in records:
            meter.add(record)
        return cls.of(meter)

    @classmethod
    def of(cls, meter: InfluenceMeter) -> "Influence":
        """What a meter's measurements say."""
        return cls(**meter.figures())

    @classmethod
    def from_run(cls, folder: str | Path) -> "Influence":
        """Of a run folder: its influence.json if there is one, else from its history.jsonl.

        Raises:
            InputError: the folder holds neither.
            StateError: the file is damaged.
        """
        folder = Path(folder)
        if (folder / "influence.json").is_file():
            return cls.load(folder / "influence.json")
        if (folder / "history.jsonl").is_file():
            return cls.from_records(History.load(folder / "history.jsonl"))
        raise InputError(f"{folder} has neither influence.json nor history.jsonl: pass the folder of a run")

    def located(self, model: nn.Module, groups: Sequence[Mapping[str, Any]]) -> "Influence":
        """The same with `members` and `places`, which applying and transferring a selection need.

        Args:
            model: the model that was measured.
            groups: its groups, each with "name" and "params", such as ``optimizer.param_groups``.

        Raises:
            InputError: a group's parameter is not the model's.
        """
        found = located(model)
        owner = {id(parameter): own for own in found.values() for parameter in own.parameters}
        members: dict[str, tuple[str, ...]] = {}
        places: dict[str, Place] = {}
        for group in groups:
            if group.get("name") not in self.sizes:
                continue
            if any(id(parameter) not in owner for parameter in group["params"]):
                raise InputError(
                    f"group {group['name']!r} has parameters that are not the model's: pass the model that was measured"
                )
            own = dict.fromkeys(owner[id(parameter)].name for parameter in group["params"])
            members[group["name"]] = tuple(own)
            places |= {name: found[name].place for name in own}
        return replace(self, members=members, places=places)

    # -- files ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; numbers that are not finite become strings."""
        return {
            "schema": _SCHEMA,
            "version": _VERSION,
            **{name: {k: _plain(v) for k, v in getattr(self, name).items()} for name in _NUMBERS},
            "members": {name: list(own) for name, own in self.members.items()},
            "places": {name: [place.role, place.layer, place.depth] for name, place in self.places.items()},
        }

    @classmethod
    def from_dict(cls, data: Any) -> "Influence":
        """Inverse of `to_dict`.

        Raises:
            StateError: not what `to_dict` gives; the message names the entry.
        """
        if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
            raise StateError(f'this is no influence: "schema" must be {_SCHEMA!r}; write one with Influence.save')
        if data.get("version") != _VERSION:
            raise StateError(f"influence of version {data.get('version')!r}; this hidlr reads version {_VERSION}")
        parts = {name: _entries(data, name, read) for name, read in _NUMBERS.items()}
        members = {key: tuple(own) for key, own in _entries(data, "members", _names).items()}
        if set(parts["ppi"]) != set(parts["total"]):
            raise StateError('the groups of "ppi" and "total" differ: restore the file')
        return cls(**parts, members=members, places=_entries(data, "places", place_from))

    def save(self, path: str | Path) -> None:
        """Write a JSON file.

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_text(json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Influence":
        """Read what `save` wrote.

        Raises:
            StateError: the file is damaged, or something else.
            OSError: it cannot be read.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            raise StateError(f"{path} cannot be used: {error}") from error


def members_of(groups: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Names of the parameters in an optimizer's groups, as far as `param_groups` or the optimizer recorded them."""
    return {
        str(group["name"]): tuple(dict.fromkeys(map(canonical_name, group["param_names"])))
        for group in groups
        if "param_names" in group and "name" in group
    }


def place_from(value: Any) -> Place:
    """A place from the list that stands for it in JSON.

    Raises:
        ValueError: it is no place.
    """
    match value:
        case [str(role), str(layer), None]:
            return Place(role, layer)
        case [str(role), str(layer), int(depth) | float(depth)] if 0 < depth < 1:
            return Place(role, layer, float(depth))
    raise ValueError('a place is [role, layer, depth], depth null or in (0, 1), e.g. ["norm", "layer_0", 0.5]')


def _entries(data: dict[str, Any], name: str, read: Callable[[Any], Any]) -> dict[str, Any]:
    value = data.get(name)
    if not isinstance(value, dict):
        raise StateError(f"{name!r} must be an object, not {value!r}: restore the file")
    found = {}
    for key, item in value.items():
        try:
            found[key] = read(item)
        except ValueError as error:
            raise StateError(f"{name!r}, {key!r}: {error}") from error
    return found


def _float(value: Any) -> float:
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a whole number of at least 0")
    return value


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{value!r} is not a list of names")
    return value


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "ppi": _float,
    "total": _float,
    "sizes": _count,
    "measured": _count,
    "refused": _count,
    "nonconvex": _count,
    "error": _float,
    "decrease": _float,
}
