"""What a short run finds of each group: slope and curvature of the same step, kept together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

__all__ = ["Estimate", "PairedMeter", "estimates"]


@dataclass(frozen=True)
class Estimate:
    """Slope and curvature of one group with the uncertainty of both.

    They are means over the same steps, so that what scales both (gradients that shrink along the run) leaves their
    ratio and its error alone.

    Attributes:
        slope: b (loss / lr), above 0.
        curvature: A (loss / lr^2), above 0.
        size: trainable entries, d.
        slope_error: squared standard error of the slope.
        curvature_error: squared standard error of the curvature.
        both_error: covariance of the two errors.
    """

    slope: float
    curvature: float
    size: int
    slope_error: float = 0.0
    curvature_error: float = 0.0
    both_error: float = 0.0

    @property
    def rate(self) -> float:
        """b / A, the group's own optimum for one step (3.2 of arXiv 2501.06954; lr)."""
        return self.slope / self.curvature

    @property
    def ppi(self) -> float:
        """b^2 / (A d), the influence per parameter (section 5.1; loss per parameter)."""
        return self.slope * self.rate / self.size

    @property
    def rate_spread(self) -> float:
        """Standard error of log(b / A), to first order."""
        return self._spread(1.0)

    @property
    def ppi_spread(self) -> float:
        """Standard error of log(b^2 / A), to first order."""
        return self._spread(2.0)

    def __add__(self, other: Self) -> "Estimate":
        """Both groups moved together, as far as their blocks of the curvature tell."""
        return Estimate(
            self.slope + other.slope,
            self.curvature + other.curvature,
            self.size + other.size,
            self.slope_error + other.slope_error,
            self.curvature_error + other.curvature_error,
            self.both_error + other.both_error,
        )

    def _spread(self, power: float) -> float:
        b, a = self.slope, self.curvature
        own = power**2 * self.slope_error / b**2 + self.curvature_error / a**2 - 2 * power * self.both_error / (a * b)
        return math.sqrt(max(own, 0.0))


class PairedMeter:
    """Takes in a short run and keeps each accepted curvature with the slope of its step.

    Attributes:
        found: slopes and curvatures (loss / step, loss / step^2) by group.
        reasons: of what was refused, by group.
    """

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[float, float]]] = {}
        self.reasons: dict[str, list[str]] = {}
        self._curvature: dict[str, float] = {}

    def observe(
        self,
        name: str,
        size: int,
        *,
        slope: float | None = None,
        curvature: float | None = None,
        move: float = 1.0,
        reason: str = "",
        rate: float | None = None,
    ) -> None:
        """Take in one measurement; a step gives curvatures first, then slopes."""
        del size, move, rate
        if reason:
            self.reasons.setdefault(name, []).append(reason)
        elif curvature is not None:
            self._curvature[name] = curvature
        if slope is not None and name in self._curvature:
            self.found.setdefault(name, []).append((slope, self._curvature.pop(name)))


def estimates(
    found: dict[str, list[tuple[float, float]]], sizes: dict[str, int], rates: dict[str, float]
) -> dict[str, Estimate]:
    """Means and errors of all groups that have an optimum.

    A group that was measured once gets the typical relative error of a single measurement of the others.

    Args:
        found: slopes and curvatures of each group (loss / step, loss / step^2).
        sizes: entries of each group.
        rates: at which the steps were taken (lr).
    """
    own = {
        name: estimate
        for name, pairs in found.items()
        if (estimate := _estimate(pairs, sizes[name], rates[name])) is not None
    }
    single = _typical([(own[name], len(found[name])) for name in own if len(found[name]) > 1])
    return {name: one if len(found[name]) > 1 else _with_errors(one, single) for name, one in own.items()}


def _estimate(pairs: Sequence[tuple[float, float]], size: int, rate: float) -> Estimate | None:
    count = len(pairs)
    slopes, curvatures = [b / rate for b, _ in pairs], [a / rate**2 for _, a in pairs]
    slope, curvature = sum(slopes) / count, sum(curvatures) / count
    if not (0 < slope < math.inf and 0 < curvature < math.inf):
        return None
    if count == 1:
        return Estimate(slope, curvature, size)
    # Errors of the ratio's numerator and denominator about their common scale: each pair is b_i = s_i b, A_i = s_i A
    # with a scale s_i of its step, which says nothing about b / A.
    scales = [(b / slope + a / curvature) / 2 for b, a in zip(slopes, curvatures, strict=True)]
    off_b = [b - s * slope for b, s in zip(slopes, scales, strict=True)]
    off_a = [a - s * curvature for a, s in zip(curvatures, scales, strict=True)]
    share = 1 / (count * (count - 1))
    return Estimate(
        slope,
        curvature,
        size,
        share * sum(e * e for e in off_b),
        share * sum(e * e for e in off_a),
        share * sum(e * f for e, f in zip(off_b, off_a, strict=True)),
    )


def _typical(measured: list[tuple[Estimate, int]]) -> tuple[float, float, float]:
    """Mean relative errors of one measurement: of slope, of curvature, of both together."""
    if not measured:
        return 0.0, 0.0, 0.0
    rows = [
        (
            count * one.slope_error / one.slope**2,
            count * one.curvature_error / one.curvature**2,
            count * one.both_error / (one.slope * one.curvature),
        )
        for one, count in measured
    ]
    b, a, both = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return b, a, both


def _with_errors(one: Estimate, relative: tuple[float, float, float]) -> Estimate:
    b, a, both = relative
    return replace(
        one,
        slope_error=b * one.slope**2,
        curvature_error=a * one.curvature**2,
        both_error=both * one.slope * one.curvature,
    )
