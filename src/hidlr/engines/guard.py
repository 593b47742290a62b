"""Has the loss come to lie far above where the run began? Then the rates are too high, whatever the parabolas say."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.smoothing import Average

__all__ = ["Guard"]


class Guard:
    """Watches the loss at the base of each probe, and asks for shorter steps when it has left the first ones behind.

    Parabolas speak of the next step and of its own batch: held rates can sit just beyond the edge of
    stability and diverge slowly, and steps that serve their batch can harm all others. The base is a
    batch the last step has not seen. It must be sure, since batches differ and some losses rise for
    reasons of their own (a curriculum, an adversary): well above start and noise, a few halvings at most.
    """

    above = 1.1  # times the start; digits climbs out of a plateau 4% above it at good rates
    deviations = 4.0  # of the first probes' losses; without this, noise between a GRU's batches halved its rates
    factor = 0.5
    most = 6  # halvings in a run
    opening = 8  # probes whose mean and deviation are the start
    decay = 0.7  # of the average that is compared

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0
        self._squares = 0.0
        self._recent = Average(self.decay)
        self._halvings = 0

    def watch(self, base: float) -> float:
        """The factor on all rates that a probe's base loss asks for: 1, or a half.

        Example:
            >>> guard = Guard()
            >>> [guard.watch(2.0) for _ in range(8)] == [1.0] * 8
            True
            >>> guard.watch(2.1), guard.watch(16.0), guard.watch(32.0)
            (1.0, 0.5, 0.5)
        """
        recent = self._recent.add(base)
        if self._seen < self.opening:
            # Welford's running mean and sum of squared deviations.
            self._seen += 1
            away = base - self._mean
            self._mean += away / self._seen
            self._squares += away * (base - self._mean)
            return 1.0
        deviation = math.sqrt(max(self._squares, 0.0) / (self.opening - 1))
        limit = self._mean + max((self.above - 1) * abs(self._mean), self.deviations * deviation)
        if recent <= limit or base <= limit or self._halvings >= self.most or not math.isfinite(recent):
            return 1.0
        self._halvings += 1
        return self.factor

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "seen": self._seen,
            "mean": self._mean,
            "squares": self._squares,
            "recent": self._recent.total,
            "weight": self._recent.weight,
            "halvings": self._halvings,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._seen, self._halvings = int(state["seen"]), int(state["halvings"])
        self._mean, self._squares = float(state["mean"]), float(state["squares"])
        self._recent.total, self._recent.weight = float(state["recent"]), float(state["weight"])
