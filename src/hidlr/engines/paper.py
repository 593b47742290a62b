"""Algorithm 1 as published (arXiv 2501.06954), with the gates of the authors' GeN code (2407.02772)."""

from collections.abc import Mapping
from typing import Any

import torch

from hidlr.engines.estimators import Estimator, RandomEstimator
from hidlr.engines.findings import findings_of
from hidlr.engines.protocol import Decision, Finding, Measure, StepView
from hidlr.errors import InputError

__all__ = ["Paper"]


class Paper:
    """Every Phi steps: 4K random points, least squares, eta_k = b_k / A_kk where that makes sense.

    With one group this is GeN (Hi-ULR): the parabola through -1, 0 and +1 steps. The previous rate
    stands where a group's fit is not convex or not downhill, and everywhere if the fit explains too
    little of the losses.

    Args:
        groups: K.
        every: Phi (base steps); the paper says O(K). None takes 10 K.
        estimator: what to measure; None is the paper's. `FullEstimator` gives eta = A^-1 b (2.4).
        min_r2: fits that explain less are refused; the authors' code has 0.99.
        clip: a target is at most this many times above or below the current rate; theirs is 2.
        smoothing: weight of the old rate in the new; theirs is 0.9. 0 takes the target at once.

    Raises:
        InputError: a value out of its range.
    """

    def __init__(
        self,
        groups: int,
        *,
        every: int | None = None,
        estimator: Estimator | None = None,
        min_r2: float = 0.99,
        clip: float = 2.0,
        smoothing: float = 0.9,
    ) -> None:
        if every is not None and every < 1:
            raise InputError(f"every={every}: the period is at least 1 step")
        if clip < 1:
            raise InputError(f"clip={clip}: the largest change of a rate is a factor of at least 1")
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing={smoothing}: the weight of the old rate is in [0, 1)")
        self._every = every or 10 * groups
        self._estimator = estimator or RandomEstimator()
        self._min_r2 = min_r2
        self._clip = clip
        self._smoothing = smoothing

    @property
    def looks_back(self) -> float:
        """Each probe stands for itself."""
        return 0.0

    def due(self, step: int) -> bool:
        """Every Phi steps, from the first."""
        return step % self._every == 0

    def decide(self, view: StepView, measure: Measure) -> Decision:
        """Steps 4 to 8 of Algorithm 1."""
        fit = self._estimator.estimate(view, measure)
        findings = findings_of(fit, view, self._estimator.size)
        if fit.r2 < self._min_r2:
            reason = f"R2 {fit.r2:.3f} below {self._min_r2}"
            findings = {k: Finding(f.slope, f.curvature, f.noise, f.reason or reason) for k, f in findings.items()}
        accepted = torch.tensor([k in findings and not findings[k].reason for k in range(len(view.names))])
        # The optimum is a rate in use, not one before the schedule: the horizon factor multiplies
        # the result, as the authors' "scale" does.
        optimum = fit.minimiser() * view.rates
        target = optimum.clamp(view.tuned / self._clip, view.tuned * self._clip)
        mixed = self._smoothing * view.tuned + (1 - self._smoothing) * target
        tuned = torch.where(accepted & optimum.isfinite() & (optimum > 0), mixed, view.tuned)
        return Decision(
            tuned * view.factor,
            "paper",
            findings,
            note="" if bool(accepted.any()) else "every fit was refused",
        )

    def spend(self, step: int, points: int) -> None:
        """Nothing to account for: the period is fixed."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: the rates themselves are the state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""
