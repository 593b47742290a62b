"""How far the common scale may climb: up from well below, to where an average of the past would do as well."""

import math
from collections.abc import Mapping
from typing import Any

from hidlr.engines.budget import Budget
from hidlr.engines.protocol import StepView
from hidlr.engines.same_batch import SameBatch
from hidlr.engines.smoothing import Parabola

__all__ = ["WarmUp"]


class WarmUp:
    """Raises or lowers all rates together in the first part of a run, at each probe.

    A step is partly made of its own batch, so its parabola on that batch promises a decrease that other
    batches do not see. So what is measured is the way from where the parameters were on average (a trailing
    average of the probed steps' starts) to where they are, on a batch that has no part in it: slope b at its
    beginning and curvature A put its minimum at xi* = b / A, where 1 is the present parameters. At xi* = 1/2
    the average has the same loss as the present parameters: what the rates gain along the valley they lose
    across it. Below, noise or oscillation wins, and an average (or a decay of the rates) would be the better
    point; above, progress wins. The scale follows ``gain * xi*``.

    Rates are as high as they may be where the two balance, nearly: the decay to come gives back what is lost
    across the valley, so the gain is somewhat above 2. The same xi* over the few steps from one probe to the
    next is near 1/2 at any rate, on many networks, and tells nothing (docs/notebook.md).

    Args:
        budget: what probes may cost; the warm-up leaves a part of it for later.
        every: a fixed period of the probes, or None.
    """

    # Where a constant has figures behind it, they are in docs/notebook.md.
    start = 0.07  # of the first step's own minimum: starting at all of it broke small networks for good
    highest_start = 0.5  # in a run too short to climb from there
    rise = 1.1  # of the scale in a step, at most
    fall = 0.8  # of the scale at a probe, at most; explosions are the guard's
    gain = 2.6  # 2 balances; a little more, since the decay is still to come
    own_gain = 1.1  # where there is nothing to look back at: the step's own minimum, on its own batch
    damping = 0.3  # power of a rise asked for that is done at a probe: what is measured lags behind
    damping_down = 0.4  # and of a fall: rates that are too high do harm meanwhile
    sure = 0.5  # power of xi added to a rise while both the last way and their average end before their minimum
    decay = 0.5  # of the averages of slope and curvature, per probe
    age = 0.05  # of the trailing average of the parameters, share of the run
    longest = 0.5  # share of the run
    watch = 0.1  # share of the run, after it, in which an explosion can still be undone
    steepest = 1.3  # rise at a probe, where there are enough of them
    rise_sure = 1.06  # of the scale in a step while the minimum lies ahead, where few probes keep it below `rise`
    steepest_sure = 1.5  # and at a probe
    found = 0.7  # xi below which the climb has arrived, once the loss has come down
    steepest_found = 1.1  # rise at a probe from then on; what noise asks for is not followed far
    usual = 30  # probes of a warm-up; with more of them each counts for less once the climb has arrived
    far = 0.1  # xi below which it counts for more again
    highest = 2.0  # rise at a probe, however few there are
    # Where all batches are the same there is no noise to wait out.
    leap = 0.5  # of the first step's own minimum, where to go once that is known and the minimum lies ahead
    leap_ball = 0.25  # the same of a heavy ball, whose first swing is a wide one
    rise_smooth, steepest_smooth = 1.07, 1.5  # rise in a step and at a probe
    rise_smooth_sure, steepest_smooth_sure = 1.12, 2.0  # the same while the minimum lies ahead
    reach = 30.0  # the climb must be able to cover this factor, whatever the number of probes
    back_off = 0.5  # of the rates at which the loss exploded: no climb goes beyond, for now
    relax = 1.1  # rise of that limit at a probe while the minimum lies ahead, at most
    relax_power = 0.1  # of xi in it
    share = 0.9  # of the budget that may be gone at its end

    def __init__(self, budget: Budget, every: int | None) -> None:
        self._budget = budget
        self._every = every
        self._way = Parabola(self.decay)
        self._first = self._last = -1
        self._beat = 1
        self._rise = 1.0  # of the scale at a probe, at most
        self._factor = 1.0  # of the schedule, at the last probe
        self._limit = math.inf  # of the tuned rates' scale
        self._found = self._arrived = False
        self._over = False
        self._same = SameBatch()
        self._goal = 0.0  # of the tuned rates' scale, if all batches should be the same

    @property
    def begun(self) -> bool:
        """Whether the first step has been calibrated."""
        return self._first >= 0

    @property
    def under_way(self) -> bool:
        """Whether the scale still moves."""
        return self.begun and not self._over

    @property
    def exact(self) -> bool:
        """Whether all batches were found to be the same."""
        return self._same.found

    def watched(self, step: int) -> bool:
        """Whether the average is still needed, to go back to."""
        return self.begun and step <= self._last + self.watch * self._budget.total_steps

    def due(self, step: int) -> bool:
        """On its own beat: every second step, or as rarely as the budget asks."""
        return (step - self._first) % self._beat == 0

    def weight(self, step: int) -> float:
        """Weight of this step's start in the trailing average, in (0, 1]; an early average is young."""
        age = min((step - self._first) / 4, self.age * self._budget.total_steps)
        return min(1.0, self._beat / max(age, 1.0))

    def begin(self, view: StepView, minimum: float = 1.0, used: int = 0, per_probe: int = 3) -> float:
        """Plan the climb; returns the factor on the rates at the minimum to start it from.

        Args:
            view: the calibrated step.
            minimum: of its loss along the step (units of the step).
            used: points that calibrating took and the budget has not been told of yet.
            per_probe: points of one probe of the climb, the base included.
        """
        steps = max(2, int(self.longest * self._budget.total_steps))
        affordable = max(4.0, (self.share * self._budget.total - self._budget.spent - used) / per_probe)
        self._first, self._last, self._factor = view.step, view.step + steps, view.factor
        self._beat = self._every or max(2, math.ceil(steps / affordable))
        probes = max(1, steps // self._beat)
        needed = (self.reach * view.build_up) ** (1 / probes)
        self._rise = min(max(min(self.rise**self._beat, self.steepest), needed), self.highest)
        # Where there are too few probes to climb so far, start higher.
        start = min(self.start * math.pow(max(needed / self._rise, 1.0), probes), self.highest_start)
        # In a schedule's own warm-up the rates to come start there, and the present ones below.
        unit = view.factor / view.ahead / view.build_up
        self._goal = _scale(view) * minimum * unit * (self.leap if view.build_up == 1 else self.leap_ball)
        return start * unit

    def follow(
        self,
        view: StepView,
        slope: float,
        curvature: float,
        *,
        seen: bool = False,
        stuck: bool = False,
        spent: bool = False,
    ) -> float:
        """The factor on all rates that one measurement asks for; 1 if it says nothing.

        Args:
            view: the step.
            slope: b of the way from the trailing average, at its beginning (loss per whole way).
            curvature: A of it (loss per whole way squared).
            seen: the measurement is of the step itself, on its own batch, instead.
            stuck: the loss has not come down since the start. Steps as small as the gradients of a plateau (those
                of plain descent or a heavy ball) say nothing but noise of it, and climb until they leave it.
            spent: next to nothing is left of the loss: rates that rose with its last thousandth would be far too
                high for the first hard batch. Without noise there is none.
        """
        smooth = self._same.found
        # Gradients shrink tenfold within a few steps of a start: without a size of its own each probe would
        # count for as much as its gradient is large, and the average would speak of the past alone. The size is
        # that of what was measured: the decrease over the way and the slope at its end.
        size = abs(slope - curvature / 2) + abs(slope - curvature)
        self._over = self._over or view.step + self._beat > self._last
        # While the schedule's own warm-up raises the rates, they need no raising here.
        raised = self._factor < view.factor < view.ahead
        self._factor = view.factor
        if not 30 * view.noise < size < math.inf:
            return 1.0  # nothing to be seen: hold
        first = not self._way.slope.weight
        slow = self._arrived and not smooth
        pace = min(1.0, self.usual * self._beat / (self._last - self._first)) if slow else 1.0
        self._way.forget(self.decay**pace)
        self._way.add(slope / size, curvature / size)
        down, bend = self._way.slope.value, self._way.curvature.value
        if down <= 0 and bend <= 0:
            return 1.0  # uphill from a summit: no parabola to go by
        # Uphill from the average on, it is the lower point by far; downhill ever steeper, there is no end yet.
        xi = max(down, 0.0) / bend if bend > 0 else math.inf
        # One probe alone may be of a start like no other step, and a way without end says nothing of how far.
        ahead = min(xi, slope / curvature) if curvature > 0 and not (first or seen) else 0.0
        if ahead > 1:
            self._found = False  # what looked like arriving was a first swing
        elif xi < self.found and not seen and not stuck and not smooth:
            self._found = self._arrived = True
        steepest = min(self._rise, self.steepest_found) if self._found else self._rise
        if smooth:
            steepest = max(steepest, min(self.rise_smooth**self._beat, self.steepest_smooth))
        asked = (self.own_gain if seen else self.gain) * xi
        wanted = math.pow(asked, self.damping if asked > 1 else self.damping_down)
        if ahead > 1:
            wanted *= ahead**self.sure
            steepest = max(steepest, min(self.rise_sure**self._beat, self.steepest_sure))
            self._limit *= min(ahead**self.relax_power, self.relax)
            if smooth:
                steepest = max(steepest, min(self.rise_smooth_sure**self._beat, self.steepest_smooth_sure))
                if self._goal > _scale(view):
                    wanted = steepest = self._goal / _scale(view)
                self._goal = 0.0
        if stuck and (view.momentum == 0 or view.build_up > 1):
            wanted = max(wanted, self._rise)
        if smooth and self._over:
            raised = True  # after a fast climb somebody should see where it led
        if spent and not smooth:
            raised = True
        highest = 1.0 if raised else min(steepest, self._limit / _scale(view))
        # Rates that are far too high must come down in time.
        return math.pow(max(min(wanted, highest), self.fall), math.sqrt(pace) if xi < self.far else pace)

    def compare(self, view: StepView, average: float) -> None:
        """Learn whether other batches have the same loss."""
        self._same.compare(view.base, average, view.noise, self.weight(view.step) >= 1)

    def exploded(self, view: StepView) -> None:
        """The loss has lost its descent at these rates: half of them are the limit, which only rises slowly."""
        self._limit = min(self._limit, self.back_off * _scale(view))
        self._found = False

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "way": self._way.state_dict(),
            "first": self._first,
            "last": self._last,
            "beat": self._beat,
            "rise": self._rise,
            "factor": self._factor,
            "limit": self._limit if math.isfinite(self._limit) else None,  # JSON has no infinity
            "found": self._found,
            "arrived": self._arrived,
            "goal": self._goal,
            "same": self._same.state_dict(),
            "over": self._over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._way.load_state_dict(state["way"])
        self._limit = math.inf if state["limit"] is None else float(state["limit"])
        self._rise, self._factor = float(state["rise"]), float(state["factor"])
        self._first, self._last = int(state["first"]), int(state["last"])
        self._beat, self._over = int(state["beat"]), bool(state["over"])
        self._found = bool(state.get("found", False))  # absent before 0.2
        self._arrived = bool(state.get("arrived", self._found))
        self._goal = float(state["goal"])
        self._same.load_state_dict(state["same"])


def _scale(view: StepView) -> float:
    """One number for all tuned rates."""
    return float(view.tuned[view.rates > 0].log().mean().exp())
