"""Has the loss come to lie above where the run began? Then the rates are too high, whatever the parabolas say."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.smoothing import Average

__all__ = ["Guard"]


class Guard:
    """Watches the loss at the base of each probe, and asks for shorter steps when it exceeds the first ones.

    Parabolas speak of the next step only: held rates can sit just beyond the edge of stability and
    diverge slowly. A loss above its start is a sign that needs no scale; a few halvings are the
    most it may ask for, since some losses rise for reasons of their own (a curriculum, an adversary).
    """

    above = 1.1  # times the start
    factor = 0.5
    most = 6  # halvings in a run
    opening = 3  # probes whose mean is the start: a single batch may be an easy one
    decay = 0.5  # of the average that is compared

    def __init__(self) -> None:
        self._start = 0.0
        self._seen = 0
        self._recent = Average(self.decay)
        self._halvings = 0

    def watch(self, base: float) -> float:
        """The factor on all rates that a probe's base loss asks for: 1, or a half.

        Example:
            >>> guard = Guard()
            >>> [guard.watch(loss) for loss in (2.0, 2.1, 1.9, 1.0, 4.0, 8.0)]
            [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
        """
        if self._seen < self.opening:
            self._seen += 1
            self._start += (base - self._start) / self._seen
            self._recent.add(base)
            return 1.0
        recent = self._recent.add(base)
        limit = self._start + (self.above - 1) * abs(self._start)
        if recent <= limit or base <= limit or self._halvings >= self.most or not math.isfinite(recent):
            return 1.0
        self._halvings += 1
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "start": self._start,
            "seen": self._seen,
            "recent": self._recent.total,
            "weight": self._recent.weight,
            "halvings": self._halvings,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._start, self._seen = float(state["start"]), int(state["seen"])
        self._recent.total, self._recent.weight = float(state["recent"]), float(state["weight"])
        self._halvings = int(state["halvings"])
