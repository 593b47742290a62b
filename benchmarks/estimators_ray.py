"""A training that can be branched, and losses and gradients along the move of one of its steps."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hidlr import param_groups, plans
from hidlr.displacement import Displacement
from hidlr.training import optimizers
from hidlr.workloads.base import Batch, Workload

__all__ = ["Ray", "Training", "rows_of", "symmetric"]

_WARM_UP = 0.1


class Training:
    """A run at a uniform rate that can be branched at any step."""

    def __init__(self, workload: Workload, optimizer: str, rate: float) -> None:
        self.workload, self.rate = workload, rate
        self.steps = workload.defaults.steps
        self.model = workload.build(0)
        self.groups = param_groups(self.model, workload.defaults.groups)
        decay = workload.defaults.weight_decay
        self.optimizer = optimizers.build(optimizer, self.groups, lr=rate, weight_decay=decay)
        self.step = 0

    def branch(self) -> "Training":
        """An independent copy that goes on from here."""
        return copy.deepcopy(self, {id(self.workload): self.workload})

    def gradient(self, batches: Sequence[Batch]) -> list[Tensor]:
        """The mean gradient over batches of one size, in the order of the groups."""
        flat = [p for group in self.groups for p in group["params"]]
        total = [torch.zeros_like(p) for p in flat]
        for batch in batches:
            torch._foreach_add_(total, torch.autograd.grad(self.workload.loss(self.model, batch), flat))
        return [part / len(batches) for part in total]

    def advance(self, batch: Batch) -> "Ray":
        """Take one step on a batch; the move it made."""
        factor = min(1.0, (self.step + 1) / (_WARM_UP * self.steps)) * (1 - self.step / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * factor
        parameters = [list(group["params"]) for group in self.groups]
        displacement = Displacement(parameters)
        self.optimizer.zero_grad()
        self.workload.loss(self.model, batch).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step += 1
        return Ray(self.workload, self.model, parameters, displacement)


class Ray:
    """Losses and gradients along the move of one step, in the model's own precision.

    Args:
        workload: gives the loss.
        model: stands at the end of the step.
        parameters: of each group; their `grad` is the step's.
        displacement: of the step, not finished.
    """

    def __init__(
        self, workload: Workload, model: nn.Module, parameters: list[list[Tensor]], displacement: Displacement
    ) -> None:
        self.workload, self.model, self.parameters = workload, model, parameters
        self.slopes = torch.tensor(displacement.slopes(), dtype=torch.float64)
        self._displacement = displacement
        displacement.finish()
        ends = [[p.detach().clone() for p in group] for group in parameters]
        displacement.place([0.0] * len(parameters))
        self.moves = [
            [end - p.detach() for end, p in zip(e, group, strict=True)]
            for e, group in zip(ends, parameters, strict=True)
        ]
        displacement.place([1.0] * len(parameters))

    @property
    def groups(self) -> int:
        """K."""
        return len(self.parameters)

    def double(self) -> "Ray":
        """The same move, both ends exactly the same, in float64."""
        self.place([0.0] * self.groups)
        model = copy.deepcopy(self.model).double()
        twin = dict(zip(self.model.parameters(), model.parameters(), strict=True))
        parameters: list[list[Tensor]] = [[twin[p] for p in group] for group in self.parameters]  # type: ignore[index]
        displacement = Displacement(parameters)
        self.place([1.0] * self.groups)
        with torch.no_grad():
            for old, new in twin.items():
                new.copy_(old)
        return Ray(self.workload, model, parameters, displacement)

    def place(self, point: Sequence[float]) -> None:
        """Put the parameters at a point (xi of each group)."""
        self._displacement.place(point)

    def loss(self, point: Sequence[float], batches: Sequence[Batch]) -> float:
        """Mean loss over batches of one size."""
        self.place(point)
        with torch.no_grad():
            return sum(float(self.workload.loss(self.model, self._cast(batch))) for batch in batches) / len(batches)

    def gradient(self, point: Sequence[float], batches: Sequence[Batch]) -> Tensor:
        """d_k . G_k(point) of each group, float64 [K], the mean over batches of one size."""
        self.place(point)
        total = torch.zeros(self.groups, dtype=torch.float64)
        for batch in batches:
            loss = self.workload.loss(self.model, self._cast(batch))
            total += self.along(torch.autograd.grad(loss, self._flat()))
        return total / len(batches)

    def exact(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """b [K] and A [K, K] by autograd: one Hessian-vector product per group."""
        self.place([0.0] * self.groups)
        flat = self._flat()
        # Fused attention has no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            first = torch.autograd.grad(self.workload.loss(self.model, self._cast(batch)), flat, create_graph=True)
            parts, at = [], 0
            for moves in self.moves:
                own = first[at : at + len(moves)]
                parts.append(torch.stack([(g * d).sum() for g, d in zip(own, moves, strict=True)]).sum())
                at += len(moves)
            rows = [self.along(torch.autograd.grad(part, flat, retain_graph=True)) for part in parts]
        return -torch.stack(parts).detach().double(), symmetric(torch.stack(rows))

    def differences(self, batches: Sequence[Batch], size: float, at_start: Tensor | None = None) -> Tensor:
        """A [K, K] from the gradient at the start and at `size` along each group's move."""
        start = self.gradient([0.0] * self.groups, batches) if at_start is None else at_start
        axes = [plans.axis(self.groups, k, [size])[0] for k in range(self.groups)]
        return symmetric(torch.stack([(self.gradient(axis, batches) - start) / size for axis in axes]))

    def along(self, gradients: Sequence[Tensor]) -> Tensor:
        """d_k . g_k of each group, float64 [K], of gradients in the order of the groups."""
        sums, at = [], 0
        for moves in self.moves:
            own = gradients[at : at + len(moves)]
            sums.append(sum(float((g * d).sum(dtype=torch.float64)) for g, d in zip(own, moves, strict=True)))
            at += len(moves)
        return torch.tensor(sums, dtype=torch.float64)

    def _flat(self) -> list[Tensor]:
        return [p for group in self.parameters for p in group]

    def _cast(self, batch: Batch) -> Batch:
        dtype = self._flat()[0].dtype
        return tuple(part.to(dtype) if part.is_floating_point() else part for part in batch)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part; what is left out is rounding or truncation."""
    return (matrix + matrix.T) / 2


def rows_of(workload: Workload, step: int, seed: int, count: int) -> Batch:
    """A batch of another size: the workload's own batches from a step on, joined and cut."""
    parts: list[Batch] = []
    while sum(len(part[0]) for part in parts) < count:
        parts.append(workload.batch(step + len(parts), seed))
    return tuple(torch.cat(columns)[:count] for columns in zip(*parts, strict=True))
