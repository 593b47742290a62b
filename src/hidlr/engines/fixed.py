"""Measures and leaves every rate alone."""

from collections.abc import Mapping
from typing import Any

from hidlr.engines.estimators import AxisEstimator, Estimator
from hidlr.engines.findings import findings_of
from hidlr.engines.protocol import Decision, Measure, StepView

__all__ = ["Fixed"]


class Fixed:
    """Rates forced to stay: training is bit-identical to training without a tuner; records still fill.

    Args:
        every: period of the measurements (base steps).
        estimator: what to measure.
    """

    def __init__(self, every: int = 10, estimator: Estimator | None = None) -> None:
        self._every = every
        self._estimator = estimator or AxisEstimator()

    @property
    def looks_back(self) -> float:
        """Nothing is compared with earlier steps."""
        return 0.0

    def due(self, step: int) -> bool:
        """Every ``every`` steps."""
        return step % self._every == 0

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Measure all groups; keep the rates."""
        fit = self._estimator.estimate(view, measure)
        return Decision(view.rates, "watch", findings_of(fit, view, self._estimator.size), note="rates are fixed")

    def spend(self, step: int, points: int) -> None:
        """Nothing to account for: the period is fixed."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: nothing carries over."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
