"""When to probe, so that forward passes stay within a share of the training's compute."""

from collections.abc import Mapping
from typing import Any

from hidlr.errors import InputError

__all__ = ["Budget"]

# A training step is a forward and a backward of twice its cost, so three forwards; the optimizer's
# part is left out, which errs on the side of probing less. Counted rather than timed, so that a run
# repeats exactly on a machine that is busy with something else.
_FORWARDS_PER_STEP = 3.0


class Budget:
    """Counts points measured against steps taken.

    Args:
        overhead: share of the training's compute that probing may add.
        total_steps: length of the run, if known: what an early calibration costs is then paid back by
            probing less later. None counts on 1000 steps.
        every: a fixed period instead (base steps).

    Raises:
        InputError: a value out of its range.
    """

    def __init__(self, overhead: float, total_steps: int | None, every: int | None) -> None:
        if not overhead > 0:
            raise InputError(f"overhead={overhead}: give a positive share of the training's compute, e.g. 0.1")
        if every is not None and every < 1:
            raise InputError(f"every={every}: the period is at least 1 step")
        self._per_step = overhead * _FORWARDS_PER_STEP
        self._total_steps = total_steps or 1000
        self._every = every
        self._spent = 0.0
        self._next = 0.0

    @property
    def total_steps(self) -> int:
        """Length of the run (base steps); 1000 where it is not known."""
        return self._total_steps

    @property
    def total(self) -> float:
        """Points that the whole run may measure."""
        return self._per_step * self._total_steps

    @property
    def spent(self) -> float:
        """Points measured so far."""
        return self._spent

    def due(self, step: int) -> bool:
        """Whether enough has been saved up for a probe at this step."""
        return step % self._every == 0 if self._every else step >= self._next

    def spend(self, step: int, points: int) -> None:
        """Count a probe, and spread what is left evenly over the steps that are left."""
        self._spent += points
        remaining_steps = max(self._total_steps - step, 1)
        remaining = self.total - self._spent
        if remaining < points or remaining_steps == 1:
            # Nothing left of a known run; go on at the plain rate of the share.
            self._next = step + max(points / self._per_step, remaining_steps)
        else:
            self._next = step + max(1.0, points * remaining_steps / remaining)

    def state_dict(self) -> dict[str, Any]:
        """Two numbers."""
        return {"spent": self._spent, "next": self._next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._spent, self._next = float(state["spent"]), float(state["next"])
