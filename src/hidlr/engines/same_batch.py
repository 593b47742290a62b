"""Is every step's batch the same? Then there is no noise, and what is measured can be followed at once."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["SameBatch"]


class SameBatch:
    """Compares a loss measured at one probe with that of the same parameters at the next, on its own batch.

    The very first parameters say nothing: where the last layer starts at zero every batch has the same loss.

    Attributes:
        found: whether the losses agreed, to within rounding, at parameters that had learnt something.
    """

    within = 10.0  # of the error of one loss
    learnt = 100.0

    def __init__(self) -> None:
        self.found = False
        self._open = True
        self._first = self._last = math.nan

    def compare(self, base: float, again: float, noise: float, exact: bool) -> None:
        """Take in one probe.

        Args:
            base: loss at the parameters.
            again: loss, on the same batch, at those of the last probe; nan if it is not known.
            noise: error of one loss.
            exact: whether what the next probe will call the last are these parameters, not an average.
        """
        if not self._open:
            return
        if math.isfinite(self._last) and math.isfinite(again):
            if abs(again - self._last) > self.within * noise:
                self._open = False
            elif abs(self._last - self._first) > self.learnt * noise:
                self.found, self._open = True, False
        if not math.isfinite(self._first):
            self._first = base
        self._last = base if exact else math.nan

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "found": self.found,
            "open": self._open,
            "first": self._first if math.isfinite(self._first) else None,  # JSON has no nan
            "last": self._last if math.isfinite(self._last) else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.found, self._open = bool(state["found"]), bool(state["open"])
        self._first, self._last = (math.nan if state[key] is None else float(state[key]) for key in ("first", "last"))
