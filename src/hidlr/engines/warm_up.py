"""How far the common scale may climb: up from well below, to where batches that a move has not seen say stop."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.budget import Budget
from hidlr.engines.protocol import StepView
from hidlr.engines.smoothing import Parabola

__all__ = ["WarmUp"]


class WarmUp:
    """Raises or lowers all rates together in the first part of a run, at each probe.

    A step is partly made of its own batch, so its parabola on that batch promises a decrease that other
    batches do not see: the minimum lay 4 to 20 times too far out where batches are small (docs/notebook.md).
    So the move from one probe to the next is measured on the batch of the next probe, which has no part in
    it: slope b and curvature A of that way, averaged, put its minimum at xi* = b / A (1 is the way as it was
    taken). The scale follows ``gain * xi*``. Where steps no longer help on average xi* is a half, whatever the
    rate; the greedy gain, 1, then shrinks rates for good, although the decay to come gives back what high rates
    lose to noise (compare the edge of arXiv 2407.06183, where sigma 2 is best without noise and the best sigma
    depends on the batch).

    Args:
        budget: what probes may cost; the warm-up leaves a part of it for later.
        every: a fixed period of the probes, or None.
    """

    # Where a constant has figures behind it, they are in docs/notebook.md.
    start = 0.2  # of the first step's own minimum: starting at all of it broke small networks for good
    rise = 1.1  # of the scale in a step, at most
    fall = 0.5  # of the scale at a probe, at most
    # Steps that are averages (Adam, Lion), steps with a velocity, steps of one batch. At 2 moves no longer help on
    # average. Networks want more (they have the decay to come), convex problems less; plain descent diverges at 3.
    gain_average, gain_heavy_ball, gain_plain = 2.5, 3.0, 2.0
    own_gain = 1.1  # where there is nothing to look back at: the step's own minimum, on its own batch
    decay = 0.8  # of the averages, per probe
    longest = 0.4  # share of the run
    highest = 2.0  # rise at a probe, however few there are
    reach = 30.0  # the climb must be able to cover this factor, whatever the number of probes
    share = 0.9  # of the budget that may be gone at its end

    def __init__(self, budget: Budget, every: int | None) -> None:
        self._budget = budget
        self._every = every
        self._way = Parabola(self.decay)  # in units of the rate
        self._first = self._last = -1
        self._beat = 1
        self._rise = 1.0  # of the scale at a probe, at most
        self._over = False

    @property
    def begun(self) -> bool:
        """Whether the first step has been calibrated."""
        return self._first >= 0

    @property
    def under_way(self) -> bool:
        """Whether the scale still moves."""
        return self.begun and not self._over

    def due(self, step: int) -> bool:
        """On its own beat: every second step, or as rarely as the budget asks."""
        return (step - self._first) % self._beat == 0

    def begin(self, step: int, build_up: float, used: int = 0, per_probe: int = 3) -> float:
        """Plan the climb; returns the factor on the rates to start it from.

        Args:
            step: the calibrated step.
            build_up: how many times longer steps become while a velocity fills, 1 / (1 - momentum).
            used: points that calibrating took and the budget has not been told of yet.
            per_probe: points of one probe of the climb, the base included.
        """
        steps = max(2, int(self.longest * self._budget.total_steps))
        affordable = max(4.0, (self.share * self._budget.total - self._budget.spent - used) / per_probe)
        self._first, self._last = step, step + steps
        self._beat = self._every or max(2, math.ceil(steps / affordable))
        probes = max(1, steps // self._beat)
        self._rise = min(max(self.rise**self._beat, (self.reach * build_up) ** (1 / probes)), self.highest)
        return self.start / build_up

    def follow(self, view: StepView, slope: float, curvature: float, *, seen: bool = False) -> float:
        """The factor on all rates that one measurement asks for; 1 if it says nothing.

        Args:
            view: the step.
            slope: b of the way since the last probe, at its beginning (loss per whole way).
            curvature: A of it (loss per whole way squared).
            seen: the measurement is of the step itself, on its own batch, instead.
        """
        # One xi is the present rates; the averages need a unit that stands when these move, be it by a
        # schedule's own warm-up. The climb is over when the rates to come are there, not only the present ones.
        known = view.rates > 0
        unit = float(view.rates[known].log().mean().exp())
        # Gradients shrink tenfold within a few steps of a start: without a size of its own each probe would
        # count for as much as its gradient is large, and the average would speak of the past alone. The size is
        # that of what was measured: the decrease over the way and the slope at its end.
        size = abs(slope - curvature / 2) + abs(slope - curvature)
        self._over = self._over or view.step + self._beat > self._last
        if not 30 * view.noise < size < math.inf:
            return 1.0  # nothing to be seen: hold
        self._way.add(slope / size / unit, curvature / size / unit**2)
        target = (
            (self.own_gain if seen else self._gain(view))
            * self._way.minimum
            / (float(view.tuned[known].log().mean().exp()) * view.ahead)
        )
        return min(max(target, self.fall), self._rise) if math.isfinite(target) else 1.0

    def _gain(self, view: StepView) -> float:
        if view.momentum == 0:
            return self.gain_plain
        return self.gain_heavy_ball if view.build_up > 1 else self.gain_average

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "way": self._way.state_dict(),
            "first": self._first,
            "last": self._last,
            "beat": self._beat,
            "rise": self._rise,
            "over": self._over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._way.load_state_dict(state["way"])
        self._rise = float(state["rise"])
        self._first, self._last = int(state["first"]), int(state["last"])
        self._beat, self._over = int(state["beat"]), bool(state["over"])
