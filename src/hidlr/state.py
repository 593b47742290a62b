"""What a tuner saves: plain numbers keyed by group name, checked before anything is changed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from hidlr.errors import StateError

__all__ = ["TunerState"]

_VERSION = 1


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
    """

    taken: int
    tuned: dict[str, float]
    written: dict[str, float]
    repeated: bool
    disagreement: float
    bad_in_a_row: int
    engine: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, safe under ``torch.load(weights_only=True)`` and JSON."""
        return {"version": _VERSION, **asdict(self)}

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
            )
            if set(found.written) != set(found.tuned):
                raise ValueError("the groups of 'tuned' and 'written' differ")
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
