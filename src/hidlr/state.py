"""What a tuner saves: plain numbers keyed by group name, checked before anything is changed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from hidlr.displacement import Trail
from hidlr.errors import StateError
from hidlr.shards import laid_out, whole

__all__ = ["TunerState", "loaded_trail", "saved_trail"]

_VERSION = 4


@dataclass(frozen=True)
class TunerState:
    """A tuner between two steps; the history is not in it.

    Attributes:
        taken: base steps so far.
        tuned: rate of each group before the schedule's factor, by name (units of ``lr``).
        written: rate of each group as last written into the optimizer, by name.
        repeated: whether the base point was measured twice already.
        disagreement: by how much the two measurements differed (loss).
        bad_in_a_row: probes in a row that found no finite loss.
        engine: the kind of engine and its own state.
        trail: where the last probed step began, as `saved_trail` gives it; None if the engine does not look back.
        writes_gradients: whether base steps were seen to write to the gradients.
        freeze: what the freezer has measured and frozen; None if the tuner freezes nothing.
    """

    taken: int
    tuned: dict[str, float]
    written: dict[str, float]
    repeated: bool
    disagreement: float
    bad_in_a_row: int
    engine: Mapping[str, Any]
    trail: Mapping[str, Any] | None = None
    writes_gradients: bool = False
    freeze: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, safe under ``torch.load(weights_only=True)`` and JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}  # asdict would copy the tensors
        return {"version": _VERSION, **fields}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], names: Sequence[str], kind: str) -> Self:
        """Inverse of `to_dict`.

        Args:
            state: what was saved.
            names: groups of the tuner that is to continue.
            kind: its engine's class.

        Raises:
            StateError: the state is damaged, of another version, of other groups or of another engine.
        """
        try:
            version, saved_kind = state["version"], state["engine"]["kind"]
            found = cls(
                taken=int(state["taken"]),
                tuned=_rates(state["tuned"]),
                written=_rates(state["written"]),
                repeated=bool(state["repeated"]),
                disagreement=float(state["disagreement"]),
                bad_in_a_row=int(state["bad_in_a_row"]),
                engine=state["engine"]["state"],
                trail=state["trail"],
                writes_gradients=bool(state.get("writes_gradients", False)),
                freeze=state.get("freeze"),
            )
            if set(found.written) != set(found.tuned):
                raise ValueError("the groups of 'tuned' and 'written' differ")
            if found.trail is not None:
                _check_trail(found.trail, found.tuned)
            if found.taken < 0:
                raise ValueError(f"{found.taken} steps taken")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f"this is not the state of a HiDLR tuner ({error!r}): pass tuner.state_dict()") from error
        if version != _VERSION:
            raise StateError(f"state of version {version}; this hidlr reads version {_VERSION}")
        if set(found.tuned) != set(names):
            missing, extra = sorted(set(names) - set(found.tuned)), sorted(set(found.tuned) - set(names))
            raise StateError(
                f"the state belongs to other groups: it lacks {missing} and has {extra} besides. Build the "
                "optimizer with the same groups as the saved run."
            )
        if saved_kind != kind:
            raise StateError(f"the state is of engine {saved_kind}, this tuner runs {kind}")
        return found


def _rates(saved: Mapping[str, Any]) -> dict[str, float]:
    rates = {str(name): float(rate) for name, rate in saved.items()}
    if not all(0 <= rate < math.inf for rate in rates.values()):
        raise ValueError(f"rates are finite and at least 0, not {rates}")
    return rates


def saved_trail(trail: Trail, names: Sequence[str], parameters: Sequence[Sequence[torch.Tensor]]) -> dict[str, Any]:
    """A trail as plain data and tensors, keyed by group name; those of sharded parameters are sharded alike.

    Args:
        trail: what to save.
        names: groups in the order of the optimizer.
        parameters: of each group, now.
    """
    groups = {
        name: {
            "positions": list(positions),
            "start": [whole(part, own[position]) for position, part in zip(positions, start, strict=True)],
        }
        for name, positions, start, own in zip(names, trail.positions, trail.start, parameters, strict=True)
    }
    return {"step": trail.step, "groups": groups}


def loaded_trail(saved: Mapping[str, Any], names: Sequence[str], parameters: Sequence[Sequence[torch.Tensor]]) -> Trail:
    """Inverse of `saved_trail`, also where parameters are sharded otherwise than then.

    Args:
        saved: what was saved.
        names: groups in the order of the optimizer.
        parameters: of each group, now.

    Raises:
        StateError: a group has fewer parameters than the saved one.
    """
    for name, own in zip(names, parameters, strict=True):
        if max(saved["groups"][name]["positions"], default=-1) >= len(own):
            raise StateError(f"group {name!r} has {len(own)} parameters, fewer than when the state was saved")
    positions = [[int(position) for position in saved["groups"][name]["positions"]] for name in names]
    start = [
        # A copy: the caller may go on with the tensors it loaded.
        [laid_out(value, own[position]) for value, position in zip(values, places, strict=True)]
        for own, places, values in zip(
            parameters, positions, (saved["groups"][name]["start"] for name in names), strict=True
        )
    ]
    return Trail(int(saved["step"]), positions, start)


def _check_trail(saved: Mapping[str, Any], names: Iterable[str]) -> None:
    if int(saved["step"]) < 0 or set(saved["groups"]) != set(names):
        raise ValueError("'trail' is of other groups")
    for own in saved["groups"].values():
        if len(own["positions"]) != len(own["start"]) or not all(isinstance(x, torch.Tensor) for x in own["start"]):
            raise ValueError("'trail' has not a tensor for each parameter")
