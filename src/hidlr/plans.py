"""Which points to measure: pure functions from sizes to rows of xi (units of the base step)."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Point", "along", "axis", "full", "gaussian"]

Point = tuple[float, ...]
"""xi of each group; 0 is where the base step began, 1 where it ended."""


def along(direction: Sequence[float], sizes: Sequence[float]) -> list[Point]:
    """Points on one line through the start: ``c * direction`` for each c in sizes.

    Example:
        >>> along([1.0, 2.0], [0.5, 1.0])
        [(0.5, 1.0), (1.0, 2.0)]
    """
    # Adding 0 turns -0.0 into 0.0, so that points compare and print alike.
    return [tuple(size * entry + 0.0 for entry in direction) for size in sizes]


def axis(groups: int, index: int, sizes: Sequence[float]) -> list[Point]:
    """Points that move one group and leave the others at the start of the step.

    Example:
        >>> axis(3, 1, [1.0, -1.0])
        [(0.0, 1.0, 0.0), (0.0, -1.0, 0.0)]
    """
    return along([float(k == index) for k in range(groups)], sizes)


def full(groups: int, sizes: Sequence[float]) -> list[Point]:
    """Points that determine every entry of the K x K curvature: both ends of each axis, and each pair.

    K^2/2 + 3K/2 points (Xu et al., arXiv 2501.06954, before the diagonal approximation of 3.1).

    Args:
        groups: K.
        sizes: xi of each group at its probe.

    Example:
        >>> len(full(4, [1.0] * 4))
        14
    """
    points = []
    for i in range(groups):
        points += axis(groups, i, [sizes[i], -sizes[i]])
        points += [tuple(sizes[k] if k in (i, j) else 0.0 for k in range(groups)) for j in range(i + 1, groups)]
    return points


def gaussian(groups: int, count: int, sizes: Sequence[float], seed: int) -> list[Point]:
    """Random points, xi_jk = sizes_k * z with z standard normal (Algorithm 1 of arXiv 2501.06954).

    The paper does not say how xi is drawn; normal draws make the groups' cross terms average out
    in the least-squares fit, and a fixed seed makes a run repeatable.

    Args:
        groups: K.
        count: number of points; the paper uses 4K.
        sizes: standard deviation of xi of each group.
        seed: of a generator of its own; the global one is untouched.
    """
    generator = torch.Generator().manual_seed(seed)
    draws: Tensor = torch.randn(count, groups, generator=generator, dtype=torch.float64)
    rows: list[list[float]] = (draws * torch.tensor(sizes, dtype=torch.float64)).tolist()
    return [tuple(row) for row in rows]
