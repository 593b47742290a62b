"""Has the loss left its best, or its start, far below? Then the rates are too high, whatever the parabolas say."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.smoothing import Average

__all__ = ["Guard"]


class Guard:
    """Watches the loss at the base of each probe: shorter steps when it has lost much of its descent, back when most.

    Parabolas speak of the next step and of its own batch: held rates can sit just beyond the edge of
    stability and diverge slowly, and after an explosion every rate looks like progress. The base is a
    batch the last step has not seen. It must be sure, since batches differ and some losses rise for
    reasons of their own (a curriculum, an adversary): well above start or best and noise, a few halvings
    in a row and at most.
    """

    above = 1.1  # times the start; digits climbs out of a plateau 4% above it at good rates
    lost_share = 0.3  # of the descent from the start to the best
    lost_at_once = 0.75  # of the descent from the start to the average, on one batch
    at_least = 0.25  # of the start: a heavy ball climbs out of the plateau of digits a tenth above it
    order = 3.0  # of the start or of the descent: beyond, gradients were of another size, and averages of them remember
    deviations = 4.0  # of the noise between batches; without this, a GRU's batches halved its rates
    factor = 0.5
    most_in_a_row = 6
    most = 12  # halvings in a run
    opening = 8  # probes whose mean and deviation are the start
    decay = 0.7  # of the averages that are compared
    nothing = 1e-3  # of the start

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0
        self._squares = 0.0
        self._recent = Average(self.decay)
        self._jumps = Average(self.decay)  # from one probe's loss to the next
        self._last = self._best = math.inf
        self._in_a_row = self._halvings = 0

    def lost(self, base: float, average: float) -> bool:
        """Whether the parameters are so much worse than their average that it is better to go back there.

        Args:
            base: loss at the parameters; may be infinite or nan.
            average: loss of the same batch at an average of the steps before; nan if there is none.

        Example:
            >>> guard = Guard()
            >>> [guard.watch(loss) for loss in (2.0, 1.5, 1.0)]
            [1.0, 1.0, 1.0]
            >>> guard.lost(1.1, 0.9), guard.lost(2.0, 0.9), guard.lost(float("inf"), 0.9)
            (False, True, True)
        """
        if not math.isfinite(average):
            return False
        allowed = max(self.at_least * abs(self._mean), self.lost_at_once * (self._mean - average))
        if math.isfinite(base) and (base - average <= allowed or self._exhausted):
            return False
        self._in_a_row += 1
        self._halvings += 1
        return True

    def beyond(self, base: float, average: float) -> bool:
        """Whether that loss is of another order than all before."""
        return not base - average <= self.order * max(abs(self._mean), self._mean - average)

    @property
    def _exhausted(self) -> bool:
        return self._in_a_row >= self.most_in_a_row or self._halvings >= self.most

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
            self._settle(base, recent)
            return 1.0
        limit = min(self._above_start(), self._above_best())
        if recent <= limit or base <= limit:
            self._settle(base, recent)
            self._in_a_row = 0
            return 1.0
        if self._exhausted or not math.isfinite(recent):
            return 1.0
        self._in_a_row += 1
        self._halvings += 1
        return self.factor

    @property
    def stuck(self) -> bool:
        """Whether the loss has not come down from its start yet by as much as would be alarming upwards."""
        return self._best > self._mean - (self.above - 1) * abs(self._mean)

    @property
    def spent(self) -> bool:
        """Whether next to nothing is left of the loss: whatever a measurement promises is not worth a risk."""
        return abs(self._recent.value) < self.nothing * abs(self._mean)

    def _settle(self, base: float, recent: float) -> None:
        if math.isfinite(self._last):
            self._jumps.add(abs(base - self._last))
        self._last = base
        self._best = min(self._best, recent)

    def _above_start(self) -> float:
        deviation = math.sqrt(max(self._squares, 0.0) / (self.opening - 1))
        return self._mean + max((self.above - 1) * abs(self._mean), self.deviations * deviation)

    def _above_best(self) -> float:
        descent = self._mean - self._best
        return self._best + max(
            (self.above - 1) * abs(self._mean), self.lost_share * descent, self.deviations * self._jumps.value
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "seen": self._seen,
            "mean": self._mean,
            "squares": self._squares,
            "recent": self._recent.total,
            "weight": self._recent.weight,
            "jumps": self._jumps.total,
            "jumps_weight": self._jumps.weight,
            # JSON has no infinity.
            "last": self._last if math.isfinite(self._last) else None,
            "best": self._best if math.isfinite(self._best) else None,
            "in_a_row": self._in_a_row,
            "halvings": self._halvings,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._seen, self._halvings = int(state["seen"]), int(state["halvings"])
        self._mean, self._squares = float(state["mean"]), float(state["squares"])
        self._recent.total, self._recent.weight = float(state["recent"]), float(state["weight"])
        self._jumps.total, self._jumps.weight = float(state["jumps"]), float(state["jumps_weight"])
        self._last, self._best = (math.inf if state[key] is None else float(state[key]) for key in ("last", "best"))
        self._in_a_row = int(state["in_a_row"])
