"""How long should the step just taken have been? From any starting rate, in a handful of losses."""

import math
from dataclasses import dataclass

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
    trials = 0
    while trials + 2 <= _MOST_TRIALS:
        (half, whole) = measure(plans.along(direction, [size / 2, size]))
        trials += 2
        first, second = base - half, base - whole
        if not math.isfinite(second) or not math.isfinite(first):
            size *= _IN
            continue
        # Through (0, base), (c/2, half), (c, whole).
        measured_slope = (4 * first - second) / size
        curvature = 4 * (2 * first - second) / size**2
        bend = curvature * size**2 / 2
        if abs(bend) < _VISIBLE * noise or curvature <= 0:
            # Still straight, or bending down: the minimum is farther out, unless the loss rose.
            size *= _IN if second < 0 and curvature <= 0 else _OUT
            continue
        if measured_slope <= 0:
            # Beyond the far side of the valley already; the slope in hand says how much too far.
            size *= max(_IN, min(0.5, slope / (line_curvature(size, second, slope) * size)))
            continue
        ratio = measured_slope / curvature / size
        if _NEAR < ratio < _FAR:
            return LineMinimum(size, measured_slope, curvature, measured_slope / slope)
        size *= min(max(ratio, _IN), _OUT)
    return None
