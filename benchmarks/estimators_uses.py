"""Ways to use slopes and curvatures: where each would put the step."""

import torch
from torch import Tensor

__all__ = ["LIMIT", "minimisers"]

LIMIT = 10.0  # no group goes further than this (units of the step), whatever its parabola says
_FLOOR = 0.1  # eigenvalues of the normalised A are not let below this share of the largest


def minimisers(slope: Tensor, curvature: Tensor) -> dict[str, tuple[Tensor, float]]:
    """Where each way of using (b, A) would put the step, and the decrease it believes in.

    A group (or the whole) whose parabola has no minimum ahead keeps the length it has.

    Args:
        slope: b [K].
        curvature: A [K, K].

    Returns:
        By name: xi [K] and the believed decrease of the loss.

    Example:
        >>> b, A = torch.tensor([1.0, 1.0]).double(), torch.eye(2).double() * 2
        >>> minimisers(b, A)["diagonal"][0].tolist()
        [0.5, 0.5]
    """
    ones = torch.ones_like(slope)
    diagonal, rows = curvature.diagonal(), curvature.sum(1)

    def ahead(over: Tensor) -> Tensor:
        return torch.where((slope > 0) & (over > 0), slope / over, 1.0).clamp(max=LIMIT)

    def believed(xi: Tensor) -> float:
        return float(slope @ xi - xi @ curvature @ xi / 2)

    def scaled(xi: Tensor) -> Tensor:
        xi = xi / xi.mean()  # where there is no minimum ahead, the mean length stays
        up, bend = float(slope @ xi), float(xi @ curvature @ xi)
        return (xi * (up / bend if up > 0 and bend > 0 else 1.0)).clamp(max=LIMIT)

    apart = ahead(diagonal)
    # The scale of each group's step is arbitrary: regularise A with a unit diagonal.
    unit = diagonal.abs().clamp_min(1e-12 * float(diagonal.abs().max())).sqrt()
    values, vectors = torch.linalg.eigh(curvature / unit[:, None] / unit)
    floored = values.abs().clamp_min(_FLOOR * float(values.abs().max()))
    full = vectors @ ((vectors.T @ (slope / unit)) / floored) / unit
    full = full * min(1.0, LIMIT / float(full.abs().max()))
    points = {
        "as it is": ones,
        "joint": scaled(ones),
        "diagonal": apart,
        "diagonal, then joint": scaled(apart),
        "diagonal^(1/3), then joint": scaled(apart ** (1 / 3)),
        "row sums": ahead(rows),
        "full": full,
    }
    result = {name: (xi, believed(xi)) for name, xi in points.items()}
    result["diagonal"] = (apart, float(slope @ apart - (diagonal * apart**2).sum() / 2))
    return result
