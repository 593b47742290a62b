"""Averages over probes, of slope and of curvature apart: the ratio of averages is the quiet one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Average", "Parabola"]


@dataclass
class Average:
    """Exponential average, free of the bias towards its start (as in Adam).

    Args:
        decay: weight of the past, in [0, 1).

    Example:
        >>> average = Average(0.9)
        >>> average.add(2.0), average.add(2.0)
        (2.0, 2.0)
    """

    decay: float
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> float:
        """Take one value; returns the average."""
        self.total = self.decay * self.total + (1 - self.decay) * value
        self.weight = self.decay * self.weight + (1 - self.decay)
        return self.value

    @property
    def value(self) -> float:
        """The average; nan before the first value."""
        return self.total / self.weight if self.weight else float("nan")


class Parabola:
    """Averaged slope and curvature of one direction, in units of the rate.

    Args:
        decay: weight of the past, in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        self.slope = Average(decay)
        self.curvature = Average(decay)

    def forget(self, decay: float) -> None:
        """Change the weight of the past from now on."""
        self.slope.decay = self.curvature.decay = decay

    def add(self, slope: float, curvature: float) -> None:
        """Take one measurement: slope (loss / rate) and curvature (loss / rate^2)."""
        self.slope.add(slope)
        self.curvature.add(curvature)

    @property
    def minimum(self) -> float:
        """The rate at which the averaged parabola is lowest; nan if none was measured or it is not convex."""
        if self.slope.weight and self.curvature.value > 0 and self.slope.value > 0:
            return self.slope.value / self.curvature.value
        return float("nan")

    def state_dict(self) -> dict[str, float]:
        """Four numbers."""
        return {
            "slope": self.slope.total,
            "slope_weight": self.slope.weight,
            "curvature": self.curvature.total,
            "curvature_weight": self.curvature.weight,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.slope.total, self.slope.weight = float(state["slope"]), float(state["slope_weight"])
        self.curvature.total = float(state["curvature"])
        self.curvature.weight = float(state["curvature_weight"])
