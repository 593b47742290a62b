"""Points and losses to the quadratic model of the next loss: slopes and curvatures, by least squares."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hidlr.errors import InputError
from hidlr.plans import Point

__all__ = ["QuadraticFit", "fit_diagonal", "fit_full", "line_curvature"]


@dataclass(frozen=True)
class QuadraticFit:
    """L(xi) - L(0) ~= -b . xi + 1/2 xi . A xi (equations 2.1 and 2.2 of arXiv 2501.06954).

    Attributes:
        slope: b, float64 [K] (loss per unit xi); positive is descent; nan where not measured.
        curvature: A, float64 [K, K], symmetric (loss per unit xi squared); the diagonal fit leaves the
            other entries 0.
        r2: share of the losses' variation that the model explains, at most 1.
    """

    slope: Tensor
    curvature: Tensor
    r2: float

    def minimiser(self) -> Tensor:
        """xi* = A^-1 b (2.4), float64 [K]; with a diagonal A, b_k / A_kk (3.1).

        Only the convex part counts: a diagonal entry <= 0 gives nan for that group; a full A that is
        not positive definite gives nan throughout. Groups with a row of zeros (not moved) get nan and
        leave the others alone.
        """
        diagonal = self.curvature.diagonal()
        if not bool((self.curvature - diagonal.diag()).any()):
            return torch.where(diagonal > 0, self.slope / diagonal, torch.nan)
        result = torch.full_like(self.slope, torch.nan)
        moved = self.curvature.any(dim=1).nonzero()[:, 0]
        factor, failed = torch.linalg.cholesky_ex(self.curvature[moved[:, None], moved])
        if not int(failed):
            result[moved] = torch.cholesky_solve(self.slope[moved, None], factor)[:, 0]
        return result


def fit_diagonal(points: Sequence[Point], losses: Sequence[float], base: float) -> QuadraticFit:
    """Fit (b, A_kk) by least squares, cross terms taken as zero (3.3).

    Args:
        points: [J] rows of xi, at least 2K that move every group.
        losses: [J] loss at each point.
        base: loss at xi = 0, known exactly.

    Raises:
        InputError: too few points for the unknowns, or a loss is not finite.

    Example:
        >>> fit = fit_diagonal([(1.0,), (-1.0,)], [0.5, 2.5], 1.0)
        >>> float(fit.slope), float(fit.curvature)
        (1.0, 1.0)
    """
    xi, change = _system(points, losses, base)
    groups = xi.shape[1]
    solution, r2 = _solve(torch.cat([-xi, xi**2 / 2], dim=1), change)
    return QuadraticFit(solution[:groups], solution[groups:].diag(), r2)


def fit_full(points: Sequence[Point], losses: Sequence[float], base: float) -> QuadraticFit:
    """Fit b and all of A by least squares (2.2).

    Args:
        points: [J] rows of xi, at least 2K + K(K-1)/2 in general position; see `plans.full`.
        losses: [J] loss at each point.
        base: loss at xi = 0, known exactly.

    Raises:
        InputError: too few points for the unknowns, or a loss is not finite.
    """
    xi, change = _system(points, losses, base)
    groups = xi.shape[1]
    rows, columns = torch.triu_indices(groups, groups)
    halves = torch.where(rows == columns, 0.5, 1.0).to(xi.dtype)
    solution, r2 = _solve(torch.cat([-xi, xi[:, rows] * xi[:, columns] * halves], dim=1), change)
    curvature = torch.zeros(groups, groups, dtype=torch.float64)
    curvature[rows, columns] = solution[groups:]
    curvature[columns, rows] = solution[groups:]
    return QuadraticFit(solution[:groups], curvature, r2)


def line_curvature(size: float, decrease: float, slope: float) -> float:
    """Curvature along a line from one loss, the slope being known: 2 (b h - decrease) / h^2.

    Args:
        size: h, how far along the line the loss was measured (units of xi).
        decrease: L(0) - L(h).
        slope: b, from the gradient in hand (loss per unit xi).
    """
    return 2 * (slope * size - decrease) / size**2


def _system(points: Sequence[Point], losses: Sequence[float], base: float) -> tuple[Tensor, Tensor]:
    xi = torch.tensor(points, dtype=torch.float64)
    change = torch.tensor(losses, dtype=torch.float64) - base
    if not bool(change.isfinite().all()):
        raise InputError(f"losses must be finite to be fitted; got {list(losses)} around {base}")
    return xi, change


def _solve(design: Tensor, change: Tensor) -> tuple[Tensor, float]:
    # Columns differ in scale by xi against xi^2, and groups by their probe sizes: unit columns keep
    # the rank decision honest.
    scale = design.norm(dim=0)
    if int(torch.linalg.matrix_rank(design / scale.clamp_min(1e-300))) < design.shape[1]:
        raise InputError(
            f"{design.shape[0]} points do not determine {design.shape[1]} unknowns: add points that move every group"
        )
    solution = torch.linalg.lstsq(design / scale, change[:, None], driver="gelsd").solution[:, 0] / scale
    residual = change - design @ solution
    spread = ((change - change.mean()) ** 2).sum()
    r2 = 1.0 - float((residual**2).sum() / spread) if float(spread) > 0 else float(not bool(residual.any()))
    return solution, r2
