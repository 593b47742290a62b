"""L(w) = c + g.w + w.Hw / 2 in float64: slopes, curvatures and minimisers in closed form."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Quadratic(nn.Module):
    """A quadratic loss of a flat vector cut into groups of given sizes, one parameter each.

    Args:
        hessian: H, symmetric [n, n].
        gradient: g at w = 0 [n].
        sizes: entries of each group; they add up to n.
        start: w [n]; default 0.
        offset: c.
    """

    def __init__(
        self,
        hessian: Tensor,
        gradient: Tensor,
        sizes: Sequence[int],
        start: Tensor | None = None,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.hessian = hessian.double()
        self.gradient = gradient.double()
        self.sizes = list(sizes)
        self.offset = offset
        begin = torch.zeros_like(self.gradient) if start is None else start.double()
        self.parts = nn.ParameterList(nn.Parameter(part.clone()) for part in begin.split(self.sizes))

    def vector(self) -> Tensor:
        return torch.cat([part.reshape(-1) for part in self.parts])

    def forward(self) -> Tensor:
        w = self.vector()
        return self.offset + self.gradient @ w + w @ (self.hessian @ w) / 2

    def groups(self, rates: float | Sequence[float]) -> list[dict]:
        each = [rates] * len(self.sizes) if isinstance(rates, float | int) else rates
        return [
            {"params": [part], "lr": rate, "name": f"part{k}"}
            for k, (part, rate) in enumerate(zip(self.parts, each, strict=True))
        ]

    def model(self, start: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        """b [K] and A [K, K] of L(start + sum_k xi_k move_k), by definition (2.1, 2.2)."""
        gradient = self.gradient + self.hessian @ start
        columns = torch.zeros(len(start), len(self.sizes), dtype=torch.float64)
        first = 0
        for k, size in enumerate(self.sizes):
            columns[first : first + size, k] = move[first : first + size]
            first += size
        return -(gradient @ columns), columns.T @ self.hessian @ columns


def random_spd(size: int, seed: int) -> Tensor:
    """A symmetric positive definite matrix with eigenvalues of at least 0.5."""
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / size + 0.5 * torch.eye(size, dtype=torch.float64)


def random_vector(size: int, seed: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def block_diagonal(sizes: Sequence[int], seed: int) -> Tensor:
    return torch.block_diag(*(random_spd(size, seed + k) for k, size in enumerate(sizes)))


def quadratic(sizes: Sequence[int], seed: int = 0, *, coupled: bool = True) -> Quadratic:
    """A random one; uncoupled groups have no cross terms, whatever the displacement."""
    total = sum(sizes)
    hessian = random_spd(total, seed) if coupled else block_diagonal(sizes, seed)
    return Quadratic(hessian, random_vector(total, seed + 100), sizes, random_vector(total, seed + 200), 3.0)
