"""One group's measured losses and the parabola fitted to them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hidlr.history import GroupRecord, StepRecord

__all__ = ["Curve", "last_curves"]


@dataclass(frozen=True, slots=True)
class Curve:
    """Losses along one group's direction, and the parabola L(w) - b eta + A eta^2 / 2 through them.

    Xu et al., arXiv 2501.06954, Fig. 1 and eq. 3.1.

    Attributes:
        name: the group's name.
        rates: the rate of each measured point (units of ``lr``); negative is backwards.
        losses: the loss at each rate, in the same order.
        base_loss: L(w), the loss at rate 0.
        slope: b_k (loss / lr); nan where not known.
        curvature: A_kk (loss / lr^2); nan where not known.
        best_rate: the parabola's minimum b_k / A_kk, or None where the fit was refused.
        reason: why it was refused, "" if it was not.
    """

    name: str
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    base_loss: float
    slope: float
    curvature: float
    best_rate: float | None
    reason: str

    def change(self, rate: float) -> float:
        """The parabola's change of loss at a rate, L(rate) - L(0).

        Example:
            >>> Curve("all", (), (), 1.0, slope=2.0, curvature=4.0, best_rate=0.5, reason="").change(0.5)
            -0.5
        """
        return _change(rate, self.slope, self.curvature)


def last_curves(records: Sequence[StepRecord]) -> dict[str, tuple[int, Curve]]:
    """The last probe of each group along its own axis: step and curve, by name.

    Points that move several groups at once say nothing about one group's parabola and are left out.
    """
    wanted = {group.name for group in records[-1].groups} if records else set()
    found: dict[str, tuple[int, Curve]] = {}
    for record in reversed(records):
        if wanted <= found.keys():
            break
        for index, points in _axis_points(record).items():
            group = record.groups[index]
            if group.name not in found:
                found[group.name] = (record.step, _curve(group, points))
    return {name: found[name] for name in sorted(found)}


def _axis_points(record: StepRecord) -> dict[int, list[tuple[float, float]]]:
    """Points (xi, loss) of each group that was moved alone, with those at 0 added to each."""
    origin: list[tuple[float, float]] = []
    alone: dict[int, list[tuple[float, float]]] = {}
    for point, loss in zip(record.points, record.losses, strict=False):
        moved = [index for index, xi in enumerate(point) if xi]
        if not moved:
            origin.append((0.0, loss))
        elif len(moved) == 1 and moved[0] < len(record.groups):
            alone.setdefault(moved[0], []).append((point[moved[0]], loss))
    return {index: origin + points for index, points in alone.items()}


def _curve(group: GroupRecord, points: list[tuple[float, float]]) -> Curve:
    slope = math.nan if group.slope is None else group.slope
    curvature = math.nan if group.curvature is None else group.curvature
    # xi = 1 is the base step, which was taken at rate_before.
    rates = tuple(xi * group.rate_before for xi, _ in points)
    losses = tuple(loss for _, loss in points)
    # Without a point at 0, the fit itself tells where the parabola starts.
    starts = [loss for xi, loss in points if xi == 0] or [
        loss - _change(rate, slope, curvature) for rate, loss in zip(rates, losses, strict=True)
    ]
    convex = group.accepted and slope > 0 and curvature > 0
    return Curve(
        name=group.name,
        rates=rates,
        losses=losses,
        base_loss=sum(starts) / len(starts),
        slope=slope,
        curvature=curvature,
        best_rate=slope / curvature if convex else None,
        reason=group.reason,
    )


def _change(rate: float, slope: float, curvature: float) -> float:
    return -slope * rate + 0.5 * curvature * rate * rate
