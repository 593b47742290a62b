"""LARS and LAMB: each tensor's step in proportion to its norm."""

from typing import Any

from benchmarks.peers.peer import PeerRun, Task
from hidlr.errors import MissingExtraError

__all__ = ["lamb", "lars"]


def lars(task: Task) -> PeerRun:
    """LARS (arXiv 1708.03888); beside SGD, which goes without decay."""
    return PeerRun(task, _package().LARS(task.parameters, lr=task.rate))


def lamb(task: Task) -> PeerRun:
    """LAMB (arXiv 1904.00962)."""
    return PeerRun(task, _package().Lamb(task.parameters, lr=task.rate, weight_decay=task.weight_decay))


def _package() -> Any:
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise MissingExtraError("pytorch_optimizer", "bench") from error
    return pytorch_optimizer
