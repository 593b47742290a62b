"""When to believe a measurement: convex, downhill, and above its own noise."""

from hidlr.engines.protocol import Finding, StepView
from hidlr.fit import QuadraticFit

__all__ = ["finding", "findings_of"]

# A curvature is twice a difference of differences of losses. Rounding of a mean over a batch was
# measured at up to about 10 eps of the loss; below three times that the sign is a coin toss
# (METHOD notes: random walks of the rate to 1e-30 and 1e+2 without a floor).
_ABOVE_NOISE = 30.0


def finding(slope: float, curvature: float, size: float, noise: float) -> Finding:
    """Judge one group's slope and curvature measured with probes of length ``size``.

    Args:
        slope: b_k (loss per unit xi).
        curvature: A_kk (loss per unit xi squared).
        size: xi of the probe.
        noise: error of one loss (loss).
    """
    bend, drop = abs(curvature) * size**2 / 2, abs(slope) * size
    if not (abs(slope) < float("inf") and abs(curvature) < float("inf")):
        reason = "the loss at a probe was not finite"
    elif max(bend, drop) < _ABOVE_NOISE * noise:
        reason = "below the noise of the loss"
    elif curvature <= 0 or bend < _ABOVE_NOISE * noise:
        reason = "not convex" if bend >= _ABOVE_NOISE * noise else "curvature below the noise of the loss"
    elif slope <= 0:
        reason = "not a descent direction"
    else:
        reason = ""
    return Finding(slope, curvature, noise, reason)


def findings_of(fit: QuadraticFit, view: StepView, size: float = 1.0) -> dict[int, Finding]:
    """Judge every moving group of a fit (units of xi)."""
    diagonal = fit.curvature.diagonal()
    return {
        k: finding(float(fit.slope[k]), float(diagonal[k]), size, view.noise)
        for k in range(len(view.names))
        if bool(view.moving[k])
    }
