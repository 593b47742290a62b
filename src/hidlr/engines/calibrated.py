"""The default engine: calibrate the common scale once, hold it, and go on adapting the ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hidlr import plans
from hidlr.engines.budget import Budget
from hidlr.engines.findings import finding
from hidlr.engines.line_search import search_line
from hidlr.engines.protocol import Decision, Finding, Measure, StepView
from hidlr.engines.smoothing import Parabola
from hidlr.fit import line_curvature

__all__ = ["Calibrated"]


class Calibrated:
    """Line search at the start, a warm-up that follows the joint parabola, then ratios only.

    1. First step: how long should it have been? A line search along the joint move, from whatever
       rate the run was started with, then each group's own parabola.
    2. Warm-up: the common scale follows ``gain * mean(b) / mean(A)`` of the joint move, up slowly,
       down fast.
    3. Afterwards the common scale is held: along the joint move b/A follows whatever rate is in use
       (the edge of stability), so tracking it says little. Groups are measured in turn, and only
       their relative rates adapt.

    Args:
        groups: the groups' names.
        overhead: share of the training's compute that probing may add.
        total_steps: length of the run, if known.
        every: period of the probes after the warm-up instead (base steps).
    """

    # Measured on digits and Shakespeare with AdamW and SGD+momentum (METHOD notes, rule G).
    warm_up_steps = 30
    gain = 1.25  # joint b/A near a good rate was 0.6 to 0.7 of it in the first 30 steps
    rise, fall = 1.1, 0.5  # of the common scale at one probe
    power = 1 / 3  # full ratios (1) collapsed SGD+momentum
    largest_change = 1.3  # of a group's rate at one probe
    joint_decay, group_decay = 0.8, 0.9
    most_first_groups = 8  # groups measured at the first step; the rest come in turn

    def __init__(self, groups: Sequence[str], *, overhead: float, total_steps: int | None, every: int | None) -> None:
        self._budget = Budget(overhead, total_steps, every)
        self._warm_up = min(self.warm_up_steps, (total_steps or 1000) // 4)
        self._calibrated = False
        self._scale = 1.0  # product of all common factors applied so far
        self._joint = Parabola(self.joint_decay)  # in units of the common scale
        self._names = tuple(groups)
        self._groups = [Parabola(self.group_decay) for _ in groups]  # in units of the rate
        self._turn = 0
        self._trust_slopes = True

    # -- when -----------------------------------------------------------------------------------

    def due(self, step: int) -> bool:
        """Each step until calibrated; each, then every second, in the warm-up; then as the budget allows."""
        if not self._calibrated:
            return True
        if step < self._warm_up:
            return step < self._warm_up // 3 or step % 2 == 0
        return self._budget.due(step)

    def spend(self, step: int, points: int) -> None:
        """Count the points of a probe."""
        self._budget.spend(step, points)

    # -- what -----------------------------------------------------------------------------------

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Calibrate, follow the joint parabola, or adapt one group's ratio, by the stage of the run."""
        if not bool(view.moving.any()):
            return Decision(view.rates, "idle", note="nothing moved")
        if not self._calibrated:
            return self._calibrate(view, measure)
        if view.step < self._warm_up:
            return self._follow(view, measure)
        return self._adapt(view, measure)

    def _calibrate(self, view: StepView, measure: Measure) -> Decision:
        direction = view.moving.double().tolist()
        slope = float(view.slopes.nansum())
        line = search_line(measure, direction, slope, view.base, view.noise)
        if line is None:
            return Decision(view.rates, "calibrate", note="no minimum found along the step")
        self._calibrated = True
        self._trust_slopes = 0.8 < line.slope_ratio < 1.25
        size = line.minimum
        order = view.slopes.nan_to_num(-1.0).argsort(descending=True, stable=True).tolist()
        findings = {
            k: self._measure_group(view, measure, k, size)
            for k in order[: self.most_first_groups]
            if bool(view.moving[k])
        }
        rates = view.rates * size
        rates = torch.where(view.moving, rates * self._tempered(view.rates * size, view), rates)
        self._scale = 1.0
        return Decision(rates, "calibrate", findings)

    def _follow(self, view: StepView, measure: Measure) -> Decision:
        direction = view.moving.double().tolist()
        (end,) = measure(plans.along(direction, [1.0]))
        slope = float(view.slopes.nansum())
        if not end < 2 * abs(view.base) + view.base:
            # The step did harm beyond what a parabola says: shorten it at once.
            self._scale *= self.fall
            return Decision(view.rates * self.fall, "warm-up", note="the step raised the loss: halved")
        if not self._trust_slopes:
            (half,) = measure(plans.along(direction, [0.5]))
            slope = 4 * (view.base - half) - (view.base - end)
        curvature = line_curvature(1.0, view.base - end, slope)
        # One xi is the present scale; the averages need one unit that stands.
        self._joint.add(slope / self._scale, curvature / self._scale**2)
        target = self.gain * self._joint.minimum / self._scale
        if not target > 0:
            return Decision(view.rates, "warm-up", note="the joint parabola has no minimum yet")
        factor = min(max(target, self.fall), self.rise)
        self._scale *= factor
        return Decision(view.rates * factor, "warm-up")

    def _adapt(self, view: StepView, measure: Measure) -> Decision:
        groups = len(view.names)
        turn = next(k % groups for k in range(self._turn, self._turn + groups) if bool(view.moving[k % groups]))
        self._turn = turn + 1
        found = self._measure_group(view, measure, turn, self._probe_size(view, turn))
        if found.reason:
            return Decision(view.rates, "track", {turn: found}, note=found.reason)
        wanted = self._tempered(view.rates, view).clamp(1 / self.largest_change, self.largest_change)
        return Decision(view.rates * wanted, "track", {turn: found})

    def _measure_group(self, view: StepView, measure: Measure, k: int, size: float) -> Finding:
        slope = float(view.slopes[k])
        points = plans.axis(len(view.names), k, [size] if self._trust_slopes else [size, -size])
        losses = measure(points)
        if self._trust_slopes:
            curvature = line_curvature(size, view.base - losses[0], slope)
        else:
            slope = (losses[1] - losses[0]) / (2 * size)
            curvature = (losses[0] + losses[1] - 2 * view.base) / size**2
        found = finding(slope, curvature, size, view.noise)
        if found.reason in ("", "not a descent direction", "not convex"):
            rate = float(view.rates[k])
            self._groups[k].add(slope / rate, curvature / rate**2)
        return found

    def _probe_size(self, view: StepView, k: int) -> float:
        """Near the group's own minimum slope and curvature are equally visible; 1 to 30 steps' worth."""
        minimum = self._groups[k].minimum / float(view.rates[k])
        return min(max(minimum, 1.0), 30.0) if minimum == minimum else 1.0

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
        """Averages, scale and whose turn it is, as plain numbers."""
        return {
            "calibrated": self._calibrated,
            "scale": self._scale,
            "turn": self._turn,
            "trust_slopes": self._trust_slopes,
            "joint": self._joint.state_dict(),
            "groups": {name: own.state_dict() for name, own in zip(self._names, self._groups, strict=True)},
            "budget": self._budget.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._calibrated = bool(state["calibrated"])
        self._scale = float(state["scale"])
        self._turn = int(state["turn"])
        self._trust_slopes = bool(state["trust_slopes"])
        self._joint.load_state_dict(state["joint"])
        for name, own in zip(self._names, self._groups, strict=True):
            own.load_state_dict(state["groups"][name])
        self._budget.load_state_dict(state["budget"])
