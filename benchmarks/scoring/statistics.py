"""The statistics of the verdicts: numbers in, numbers out."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

__all__ = ["Comparison", "Interval", "Outcome", "compare", "interval", "profile", "regrets", "spread", "steps_to"]

Outcome = Literal["win", "tie", "loss"]

_LEVEL = 0.05
_EQUAL = 1e-12  # differences up to here are rounding
_SMOOTHING = 0.05  # share of the steps that a loss curve is averaged over


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95% interval (Student's t); nan for a single value.

    Example:
        >>> print(interval([1.0, 2.0, 3.0]))
        2 ± 2.48
    """

    mean: float
    half: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.4g}" + (f" ± {self.half:.3g}" if math.isfinite(self.half) else "")


@dataclass(frozen=True)
class Comparison:
    """A paired test.

    Attributes:
        outcome: "win" or "loss" where p < 0.05 (two-sided), else "tie".
        gain: mean of the differences, positive where ours is better.
        p: probability of a difference as large if there were none.
        count: number of pairs.
    """

    outcome: Outcome
    gain: float
    p: float
    count: int


def interval(values: Sequence[float]) -> Interval:
    """Mean and 95% interval of at least one value."""
    count = len(values)
    half = math.nan
    if count > 1:
        half = float(stdtrit(count - 1, 1 - _LEVEL / 2)) * statistics.stdev(values) / math.sqrt(count)
    return Interval(statistics.fmean(values), half, count)


def compare(gains: Sequence[float]) -> Comparison | None:
    """Paired t-test on differences, each positive where ours is better; None for fewer than two.

    Differences that are all the same leave the test without a variance: their sign decides, unless it is rounding.

    Example:
        >>> compare([0.1, 0.1]).outcome, compare([0.0, 0.0]).outcome, compare([0.3, -0.2]).outcome
        ('win', 'tie', 'tie')
    """
    count = len(gains)
    if count < 2:
        return None
    mean, deviation = statistics.fmean(gains), statistics.stdev(gains)
    if deviation <= _EQUAL:
        p = 1.0 if abs(mean) <= _EQUAL else 0.0
    else:
        p = 2 * float(stdtr(count - 1, -abs(mean) / deviation * math.sqrt(count)))
    outcome: Outcome = "tie" if p >= _LEVEL else "win" if mean > 0 else "loss"
    return Comparison(outcome, mean, p, count)


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def steps_to(curve: Sequence[tuple[float, float]], target: float, steps: int) -> float:
    """First step at which the loss, averaged over the last 5% of the steps, is at most `target`; inf if never.

    Args:
        curve: (step, mean loss since the entry before), steps ascending.
        target: a loss.
        steps: length of the whole run, which the 5% are of.
    """
    window = _SMOOTHING * steps
    for last, (step, _) in enumerate(curve):
        if step < window:  # the average is not full yet
            continue
        total = weight = 0.0
        for index in range(last, -1, -1):
            begin = curve[index - 1][0] if index else 0.0
            total += (curve[index][0] - begin) * curve[index][1]
            weight += curve[index][0] - begin
            if weight >= window:
                break
        if total <= target * weight:
            return step
    return math.inf


def regrets(gaps: Mapping[str, float], worst: float) -> dict[str, float]:
    """Share of the attainable gain that each method leaves on the table, between 0 and 1; empty if there is no gain.

    Args:
        gaps: by method, how far it stays behind the best one; positive.
        worst: how far a model that learned nothing stays behind.
    """
    if not worst > _EQUAL:  # nan too
        return {}
    return {method: min(1.0, max(0.0, gap / worst)) for method, gap in gaps.items()}


def profile(values: Sequence[float]) -> list[tuple[float, float]]:
    """A performance profile's corners: (regret, share of the pairs with at most that), ascending.

    Example:
        >>> profile([0.5, 0.0])
        [(0.0, 0.5), (0.5, 1.0)]
    """
    return [(value, (index + 1) / len(values)) for index, value in enumerate(sorted(values))]
