"""AdaHessian and Sophia: a diagonal of the Hessian, estimated with Hutchinson's method by differentiating twice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.optimizer import Optimizer

from benchmarks.peers.peer import PeerRun, Task
from hidlr.errors import MissingExtraError

__all__ = ["adahessian", "sophia"]


def adahessian(task: Task) -> PeerRun:
    """AdaHessian (arXiv 2006.00719): a new estimate at each step."""
    kind = _kind("AdaHessian")
    return _Hutchinson(task, kind(task.parameters, lr=task.rate, weight_decay=task.weight_decay), every=1)


def sophia(task: Task) -> PeerRun:
    """Sophia-H (arXiv 2305.14342): a new estimate every tenth step."""
    kind = _kind("SophiaH")
    optimizer: Any = kind(task.parameters, lr=task.rate, weight_decay=task.weight_decay)
    return _Hutchinson(task, optimizer, every=optimizer.update_period)


class _Hutchinson(PeerRun):
    """Keeps the gradients' own graph on the steps whose estimate is due."""

    def __init__(self, task: Task, optimizer: Optimizer, every: int) -> None:
        super().__init__(task, optimizer)
        self._every = every

    @property
    def graph_due(self) -> bool:
        return self._taken % self._every == 0

    def step(self, loss: Callable[[], Tensor]) -> float:
        if not self.graph_due:
            return super().step(loss)
        # The fused attention kernels cannot be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH):
            number = super().step(loss)
        # A gradient with a graph refers to its parameter, and the parameter to it: nothing would free either.
        self.optimizer.zero_grad(set_to_none=True)
        return number

    def _backward(self, value: Tensor) -> None:
        if not self.graph_due:
            super()._backward(value)
            return
        # Not backward(create_graph=True), which warns of that very cycle.
        gradients = torch.autograd.grad(value, self.task.parameters, create_graph=True, allow_unused=True)
        for parameter, gradient in zip(self.task.parameters, gradients, strict=True):
            parameter.grad = gradient


def _kind(name: str) -> Any:
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise MissingExtraError("pytorch_optimizer", "bench") from error
    return getattr(pytorch_optimizer, name)
