"""How long should the step just taken have been? From any starting rate, in a handful of losses."""

import math
from dataclasses import dataclass, replace

from hidlr import plans
from hidlr.engines.protocol import Measure
from hidlr.fit import line_curvature

__all__ = ["LineMinimum", "search_line"]

# A parabola is believed where its minimum lies about where it was measured.
_NEAR, _FAR = 0.7, 1.6
# How far one trial may move: out slowly, since nothing is known there; in fast, since a loss that
# explodes says little about how far to come back.
_OUT, _IN = 16.0, 1 / 64
_VISIBLE = 30.0
_MOST_TRIALS = 16


@dataclass(frozen=True)
class LineMinimum:
    """The parabola along a direction, measured near its own minimum.

    Attributes:
        size: c, the multiple of the direction at which the loss was measured.
        slope: b (loss per unit c), from the losses themselves.
        curvature: A (loss per unit c squared).
        slope_ratio: measured slope over the slope from the gradient; far from 1 when gradients were
            clipped or the closure's loss is not the one that was differentiated.
    """

    size: float
    slope: float
    curvature: float
    slope_ratio: float

    @property
    def minimum(self) -> float:
        """b / A, in multiples of the direction."""
        return self.slope / self.curvature


def search_line(
    measure: Measure, direction: list[float], slope: float, base: float, noise: float
) -> LineMinimum | None:
    """Find c so that a parabola through 0, c/2 and c has its minimum near c.

    The slope in hand steers the search; the parabola accepted is of losses alone, since that slope
    is too small by the clipping factor if gradients were clipped.

    Args:
        measure: losses at points.
        direction: xi of each group at c = 1.
        slope: b along the direction, from the gradient (loss per unit c).
        base: loss at c = 0.
        noise: error of one loss.

    Returns:
        The parabola, or None if no convex descent was found within 16 losses.
    """
    if not slope > 0:
        return None
    size = max(1.0, 100 * noise / slope)
    bracket = _Bracket()
    # The slope at 0 is seen best from the smallest size.
    smallest, slope_ratio = math.inf, math.nan
    for _ in range(_MOST_TRIALS // 2):
        (half, whole) = measure(plans.along(direction, [size / 2, size]))
        first, second = base - half, base - whole
        if not math.isfinite(second) or not math.isfinite(first):
            size = bracket.short_of(size, None, size * _IN)
            continue
        # Through (0, base), (c/2, half), (c, whole).
        measured_slope = (4 * first - second) / size
        curvature = 4 * (2 * first - second) / size**2
        if size < smallest:
            smallest, slope_ratio = size, measured_slope / slope
        found = LineMinimum(size, measured_slope, curvature, slope_ratio)
        if abs(curvature) * size**2 / 2 < _VISIBLE * noise or curvature <= 0:
            # Still straight, or bending down: the minimum is farther out, unless the loss rose.
            if second < 0 and curvature <= 0:
                size = bracket.short_of(size, None, size * _IN)
            else:
                size = bracket.beyond(size, size * _OUT)
        elif measured_slope <= 0:
            # Beyond the far side of the valley already; the slope in hand says how much too far.
            far = max(_IN, min(0.5, slope / (line_curvature(size, second, slope) * size)))
            size = bracket.short_of(size, None, size * far)
        else:
            ratio = found.minimum / size
            if _NEAR < ratio < _FAR:
                return found
            wanted = size * min(max(ratio, _IN), _OUT)
            size = bracket.short_of(size, found, wanted) if ratio < 1 else bracket.beyond(size, wanted)
        if bracket.closed:
            break
    return None if bracket.within is None else replace(bracket.within, slope_ratio=slope_ratio)


class _Bracket:
    """What is known of where the minimum lies: beyond one size, and short of another.

    A loss that bends down first and up steeply later has no parabola near its minimum that says so:
    steps out and in would pass it by for ever. The tightest parabola that holds it is the answer then.

    Attributes:
        within: the parabola of the smallest size that the minimum is known to be short of, if it is convex.
    """

    def __init__(self) -> None:
        self.within: LineMinimum | None = None
        self._low, self._high = 0.0, math.inf

    def beyond(self, size: float, wanted: float) -> float:
        """The minimum is farther out; returns the size to try next."""
        self._low = max(self._low, size)
        return self._next(wanted)

    def short_of(self, size: float, found: LineMinimum | None, wanted: float) -> float:
        """The minimum is farther in, by a parabola if one was found; returns the size to try next."""
        if size < self._high:
            self._high, self.within = size, found
        return self._next(wanted)

    @property
    def closed(self) -> bool:
        """Whether the parabola's minimum is no farther out than what is known to be too near."""
        return self.within is not None and self.within.minimum < _FAR * self._low

    def _next(self, wanted: float) -> float:
        if self._low < wanted < self._high or self._low >= self._high or self._high == math.inf or self._low == 0:
            return wanted
        return math.sqrt(self._low * self._high)
