"""The default engine: calibrate the common scale in a warm-up of its own, hold it, adapt the ratios."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hidlr import plans
from hidlr.engines.budget import Budget
from hidlr.engines.findings import finding
from hidlr.engines.guard import Guard
from hidlr.engines.line_search import search_line
from hidlr.engines.protocol import Decision, Finding, LookBack, Measure, StepView
from hidlr.engines.smoothing import Parabola
from hidlr.engines.warm_up import WarmUp
from hidlr.fit import line_curvature

__all__ = ["Calibrated"]


class Calibrated:
    """A line search at the first step, a warm-up that looks back on fresh batches, then ratios alone.

    1. First step: how long should it have been? A line search along the joint move, from whatever
       rate the run was started with, then each group's own parabola, which sets their ratios.
    2. Warm-up, the first half of the run: start well below, and let the common scale follow what each probed
       batch says of the way made before it was drawn (`WarmUp`). Groups are measured in turn and their
       ratios adapt.
    3. Afterwards the common scale is held while the schedule lowers it, and only the ratios adapt.

    Args:
        groups: the groups' names.
        overhead: share of the training's compute that probing may add.
        total_steps: length of the run, if known.
        every: period of the probes instead (base steps).
    """

    # Where a constant has figures behind it, they are in docs/notebook.md.
    power = 1 / 6  # of a group's own optimum in its rate: full ratios (1) collapsed SGD with momentum
    largest_change = 1.3  # of a group's rate at one probe, once the scale is held
    group_decay = 0.9
    edge = 1.8  # most of a group's own minimum that a step without memory may be; 2 is where it diverges
    most_first_groups = 8  # groups measured at the first step; the rest come in turn
    first_share = 0.05  # of the whole budget that they may take: a short run needs it for its warm-up
    trusted_slopes = (0.8, 1.25)  # slope of the losses over slope of the gradient; clipping makes it large

    def __init__(self, groups: Sequence[str], *, overhead: float, total_steps: int | None, every: int | None) -> None:
        self._budget = Budget(overhead, total_steps, every)
        self._warm_up = WarmUp(self._budget, every)
        self._guard = Guard()
        self._names = tuple(groups)
        self._groups = [Parabola(self.group_decay) for _ in groups]  # in units of the rate
        self._turn = 0
        self._latest = 0
        self._tried = False
        self._anew = False
        self._trust_slopes = True

    @property
    def looks_back(self) -> float:
        """As long as the common scale moves, and a little longer: what it ended with may be too high."""
        return self._warm_up.weight(self._latest) if self._warm_up.watched(self._latest) else 0.0

    # -- when -----------------------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """The first step, again as the budget allows until calibrated; in the warm-up by its own beat."""
        if self._anew:
            return True
        if self._warm_up.under_way:
            return self._warm_up.due(step)
        return not self._tried or self._budget.due(step)

    def spend(self, step: int, points: int) -> None:
        """Count the points of a probe."""
        self._budget.spend(step, points)

    # -- what -----------------------------------------------------------------------------------

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Calibrate, climb, or adapt one group's ratio, by the stage of the run."""
        self._latest = view.step
        average = math.nan if view.back is None else view.back.measure(0.0)
        if self._guard.lost(view.base, average):
            return self._go_back(view, average)
        if not math.isfinite(view.base):
            return Decision(view.rates, "refused", note=f"the loss is {view.base}")
        if not bool(view.moving.any()):
            return Decision(view.rates, "idle", note="nothing moved")
        if not self._warm_up.begun:
            return self._calibrate(view, measure)
        if self._anew:
            return self._shorten(view, measure)
        shorter = self._guard.watch(view.base)
        if shorter < 1:
            self._warm_up.exploded(view)
            return Decision(view.rates * shorter, "guard", note="the loss has lost its descent: every rate halved")
        if self._warm_up.under_way:
            self._warm_up.compare(view, average)
            return self._climb(view, measure, average - view.base)
        return self._adapt(view, measure)

    def _calibrate(self, view: StepView, measure: Measure) -> Decision:
        self._tried = True
        self._guard.watch(view.base)
        used = 2  # the base, and its repetition

        def counted(points: Sequence[plans.Point]) -> list[float]:
            nonlocal used
            used += len(points)
            return measure(points)

        direction = view.moving.double().tolist()
        line = search_line(counted, direction, float(view.slopes.nansum()), view.base, view.noise)
        if line is None:
            return Decision(view.rates, "calibrate", note="no minimum found along the step")
        self._trust_slopes = self.trusted_slopes[0] < line.slope_ratio < self.trusted_slopes[1]
        order = view.slopes.nan_to_num(-1.0).argsort(descending=True, stable=True).tolist()
        findings = {
            k: self._measure_group(view, counted, k, line.minimum)
            for k in order[: self._affordable()]
            if bool(view.moving[k])
        }
        per_probe = 3 if self._trust_slopes else 5
        # One more where the own step is measured.
        start = self._warm_up.begin(view, line.minimum, used, per_probe + (view.momentum == 0))
        self._warm_up.compare(view, math.nan)
        rates = view.rates * line.minimum * start
        return Decision(torch.where(view.moving, rates * self._tempered(rates, view), rates), "calibrate", findings)

    def _go_back(self, view: StepView, average: float) -> Decision:
        self._warm_up.exploded(view)
        # A velocity would lead away again. Averages soon forget, unless what they met was of another size.
        forgets = view.build_up > 1 or self._guard.beyond(view.base, average)
        self._anew = forgets and view.build_up == 1
        note = "the loss exploded: back to the average before, every rate halved"
        return Decision(view.rates * self._guard.factor, "guard", note=note, returns=True, forgets=forgets)

    def _shorten(self, view: StepView, measure: Measure) -> Decision:
        """After going back: an optimizer without averages may begin with far longer steps than those it took."""
        self._anew = False
        line = search_line(measure, view.moving.double().tolist(), float(view.slopes.nansum()), view.base, view.noise)
        if line is None:
            return Decision(view.rates, "calibrate", note="no minimum found along the step")
        factor = min(1.0, self._warm_up.highest_start * line.minimum)
        return Decision(view.rates * factor, "calibrate")

    def _affordable(self) -> int:
        """Groups to measure at the first step; the rest come in turn."""
        return max(1, min(self.most_first_groups, int(self.first_share * self._budget.total)))

    def _climb(self, view: StepView, measure: Measure, decrease: float) -> Decision:
        if view.back is not None:
            way = _way(view.back, view.base, decrease, self._trust_slopes)
            factor = self._warm_up.follow(view, *way, stuck=self._guard.stuck, spent=self._guard.spent)
            if self._warm_up.exact and view.momentum == 0:
                # On the same batch the own step's parabola is that of the steps to come: stay within its edge.
                slope, curvature = self._own_step(view, measure)
                if curvature > 30 * view.noise:
                    factor = min(factor, self.edge * max(slope, 0.0) / curvature)
        else:
            # The step moved other parameters than the last probed one did: its own batch is all there is.
            factor = self._warm_up.follow(view, *self._own_step(view, measure), seen=True)
        return self._adapt(view, measure, factor, "warm-up")

    def _own_step(self, view: StepView, measure: Measure) -> tuple[float, float]:
        """Slope and curvature of the step just taken, on its own batch."""
        direction = view.moving.double().tolist()
        if self._trust_slopes:
            slope = float(view.slopes.nansum())
            (end,) = measure(plans.along(direction, [1.0]))
            return slope, line_curvature(1.0, view.base - end, slope)
        half, end = measure(plans.along(direction, [0.5, 1.0]))
        return 4 * (view.base - half) - (view.base - end), 4 * (2 * (view.base - half) - (view.base - end))

    def _adapt(self, view: StepView, measure: Measure, factor: float = 1.0, phase: str = "track") -> Decision:
        groups = len(view.names)
        turn = next(k % groups for k in range(self._turn, self._turn + groups) if bool(view.moving[k % groups]))
        self._turn = turn + 1
        found = self._measure_group(view, measure, turn, self._probe_size(view, turn))
        if found.reason:
            return Decision(view.rates * factor, phase, {turn: found}, note=found.reason)
        ratios = self._tempered(view.rates, view).clamp(1 / self.largest_change, self.largest_change)
        rates = view.rates * ratios * factor
        if view.momentum == 0:
            # Without a memory, a group beyond twice its own minimum grows its oscillation each step.
            rates[turn] = rates[turn].clamp(max=max(self.edge * self._groups[turn].minimum, float(rates[turn]) / 2))
        return Decision(rates, phase, {turn: found})

    def _measure_group(self, view: StepView, measure: Measure, k: int, size: float) -> Finding:
        slope = float(view.slopes[k])
        losses = measure(plans.axis(len(view.names), k, [size] if self._trust_slopes else [size, -size]))
        if self._trust_slopes:
            curvature = line_curvature(size, view.base - losses[0], slope)
        else:
            slope = (losses[1] - losses[0]) / (2 * size)
            curvature = (losses[0] + losses[1] - 2 * view.base) / size**2
        found = finding(slope, curvature, size, view.noise)
        # An unlucky batch's concave or uphill parabola belongs to the average; noise does not.
        if found.reason in ("", "not a descent direction", "not convex"):
            rate = float(view.rates[k])
            self._groups[k].add(slope / rate, curvature / rate**2)
        return found

    def _probe_size(self, view: StepView, k: int) -> float:
        """Near the group's own minimum slope and curvature are equally visible; 1 to 30 steps' worth."""
        minimum = self._groups[k].minimum / float(view.rates[k])
        return min(max(minimum, 1.0), 30.0) if math.isfinite(minimum) else 1.0

    def _tempered(self, rates: Tensor, view: StepView) -> Tensor:
        """Factors [K] towards rates in proportion to each group's own optimum to a power, at equal bend.

        Groups not measured yet keep their place beside the others. "Equal bend" keeps the sum of
        A_kk eta_k^2, what the step as a whole spends of the parabola.
        """
        own = torch.tensor([parabola.minimum for parabola in self._groups], dtype=torch.float64)
        bend = torch.tensor([parabola.curvature.value for parabola in self._groups], dtype=torch.float64)
        known = own.isfinite() & bend.isfinite() & (bend > 0) & view.moving
        if int(known.sum()) < 2:
            return torch.ones_like(rates)
        factors = own[known] ** self.power / rates[known]
        before = (bend[known] * rates[known] ** 2).sum()
        after = (bend[known] * (rates[known] * factors) ** 2).sum()
        result = torch.ones_like(rates)
        result[known] = factors * (before / after).sqrt()
        return result

    # -- state ----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Averages, the warm-up's scale and whose turn it is, as plain numbers."""
        return {
            "tried": self._tried,
            "anew": self._anew,
            "turn": self._turn,
            "trust_slopes": self._trust_slopes,
            "warm_up": self._warm_up.state_dict(),
            "guard": self._guard.state_dict(),
            "groups": {name: own.state_dict() for name, own in zip(self._names, self._groups, strict=True)},
            "budget": self._budget.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._tried = bool(state["tried"])
        self._anew = bool(state["anew"])
        self._turn = int(state["turn"])
        self._trust_slopes = bool(state["trust_slopes"])
        self._warm_up.load_state_dict(state["warm_up"])
        self._guard.load_state_dict(state["guard"])
        for name, own in zip(self._names, self._groups, strict=True):
            own.load_state_dict(state["groups"][name])
        self._budget.load_state_dict(state["budget"])


def _way(back: LookBack, base: float, decrease: float, trust_slope: bool) -> tuple[float, float]:
    """Slope at its beginning and curvature of the way that led here, from losses on the present batch."""
    if trust_slope and math.isfinite(back.slope):
        # decrease = b - A/2 and back.slope = b - A.
        return 2 * decrease - back.slope, 2 * (decrease - back.slope)
    rest = back.measure(0.5) - base  # = b/2 - 3A/8
    return 4 * (decrease - rest) - decrease, 4 * (decrease - 2 * rest)
