"""How far the common scale may climb: up from well below, until the joint parabola says stop."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.budget import Budget
from hidlr.engines.protocol import StepView
from hidlr.engines.smoothing import Parabola

__all__ = ["WarmUp"]


class WarmUp:
    """Raises all rates together, and ends when the averaged minimum was inside the step three times running.

    Each probe measures slope b and curvature A of the joint move; the scale follows
    ``gain * mean(b) / mean(A)``, up by a bounded factor, down fast. Held rates would tell nothing (the
    curvature adapts to them); a climb of a tenth a step outruns it.

    Args:
        budget: what probes may cost; the warm-up leaves a part of it for later.
        every: a fixed period of the probes, or None.
    """

    # Where a constant has figures behind it, they are in docs/notebook.md.
    start = 0.2  # of the first step's own minimum: starting at all of it broke small networks for good
    rise = 1.1  # of the scale in a step, at most
    fall = 0.5  # of the scale at a probe, at most
    # A step that remembers earlier ones is stopped at its own minimum. One made of the present batch
    # alone sees that batch's noise in slope and curvature both, and overshoots harmlessly up to the
    # edge of stability, twice the minimum (arXiv 2407.06183); 1.5 keeps clear of that.
    gain_with_memory, gain_without = 1.1, 1.5
    decay = 0.7  # of the averages, per probe
    settled = 3  # probes in a row
    longest = 0.2  # share of the run
    highest = 2.0  # rise at a probe, however few there are
    reach = 30.0  # the climb must be able to cover this factor, whatever the number of probes
    share = 0.95  # of the budget that may be gone at its end

    def __init__(self, budget: Budget, every: int | None) -> None:
        self._budget = budget
        self._every = every
        self._joint = Parabola(self.decay)  # in units of the rate
        self._first = self._last = -1
        self._beat = 1
        self._rise = 1.0  # of the scale at a probe, at most
        self._inside = 0
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

    def begin(self, step: int, build_up: float, used: int = 0, per_probe: int = 2) -> float:
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

    def follow(self, view: StepView, slope: float, curvature: float) -> float:
        """The factor on all rates that one measurement of the joint move asks for; 1 if it says nothing.

        Args:
            view: the step.
            slope: b of the joint move (loss per unit xi).
            curvature: A of the joint move (loss per unit xi squared).
        """
        # One xi is the present rates; the averages need a unit that stands when these move, be it by a
        # schedule's own warm-up. The climb is over when the rates to come are there, not only the present ones.
        known = view.rates > 0
        unit = float(view.rates[known].log().mean().exp())
        self._joint.add(slope / unit, curvature / unit**2)
        gain = self.gain_with_memory if view.momentum > 0 else self.gain_without
        target = gain * self._joint.minimum / (float(view.tuned[known].log().mean().exp()) * view.ahead)
        if not math.isfinite(target):
            return self._move(1.0, view.step)
        self._inside = self._inside + 1 if target < 1 else 0
        return self._move(min(max(target, self.fall), self._rise), view.step)

    def stumble(self, factor: float) -> float:
        """Take note that all rates were cut because a step, or the run, did harm; returns the factor."""
        self._inside += 1
        return self._move(factor, -1)

    def _move(self, factor: float, step: int) -> float:
        self._over = self._over or self._inside >= self.settled or step + self._beat > self._last
        return factor

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "joint": self._joint.state_dict(),
            "first": self._first,
            "last": self._last,
            "beat": self._beat,
            "rise": self._rise,
            "inside": self._inside,
            "over": self._over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._joint.load_state_dict(state["joint"])
        self._rise = float(state["rise"])
        self._first, self._last = int(state["first"]), int(state["last"])
        self._beat, self._inside = int(state["beat"]), int(state["inside"])
        self._over = bool(state["over"])
