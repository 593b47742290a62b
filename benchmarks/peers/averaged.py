"""Peers that train at one point and are judged at another: DoG with its averager, and Schedule-Free."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from benchmarks.peers.peer import PeerRun, Task, fill_missing, no_batch_norm
from hidlr.errors import InputError, MissingExtraError

__all__ = ["dog", "ldog", "schedule_free"]

# DoG's documentation: 1e-6, but 1e-4 for models with batch normalisation.
_REPS, _REPS_BATCH_NORM = 1e-6, 1e-4
# Schedule-Free's documentation recommends a warm-up without a number; 2% is what the package's own
# settings for AlgoPerf use.
_WARM_UP = 0.02
# Schedule-Free's documented recipe for batch normalisation: 50 training batches at the point to be judged.
_REFRESHES = 50


def dog(task: Task) -> PeerRun:
    """DoG (arXiv 2302.12022), with its averager."""
    kind, averager = _dog("DoG")
    return _Averaged(task, kind(task.parameters, reps_rel=_reps(task), lr=task.rate), averager(task.model))


def ldog(task: Task) -> PeerRun:
    """DoG with one rate for each tensor, with its averager."""
    kind, averager = _dog("LDoG")
    return _Averaged(task, kind(task.parameters, reps_rel=_reps(task), lr=task.rate), averager(task.model))


def schedule_free(task: Task) -> PeerRun:
    """Schedule-Free AdamW or SGD (arXiv 2405.15682)."""
    try:
        import schedulefree
    except ImportError as error:
        raise MissingExtraError("schedulefree", "bench") from error
    options: dict[str, Any] = {"lr": task.rate, "warmup_steps": round(_WARM_UP * task.steps)}
    if task.base == "adamw":
        optimizer = schedulefree.AdamWScheduleFree(task.parameters, weight_decay=task.weight_decay, **options)
    else:
        optimizer = schedulefree.SGDScheduleFree(task.parameters, **options)
    return _ScheduleFree(task, optimizer, lambda used: float(used.param_groups[0]["scheduled_lr"]))


class _Averaged(PeerRun):
    """Judged at a running mean of the iterates."""

    def __init__(self, task: Task, optimizer: Optimizer, averager: Any) -> None:
        super().__init__(task, optimizer, _mean_eta)
        self._averager = averager
        self._kept: dict[str, Tensor] | None = None

    def before_evaluate(self, forwards: Iterable[Callable[[], object]] = ()) -> None:
        del forwards
        if self._kept is None and self._taken > 0:
            self._kept = {name: tensor.clone() for name, tensor in self.task.model.state_dict().items()}
            self.task.model.load_state_dict(self._averager.averaged_model.state_dict())

    def after_evaluate(self) -> None:
        if self._kept is not None:
            self.task.model.load_state_dict(self._kept)
            self._kept = None

    def _backward(self, value: Tensor) -> None:
        super()._backward(value)
        fill_missing(self.task.parameters)

    def _after_step(self) -> None:
        self._averager.step()


class _ScheduleFree(PeerRun):
    """Judged where the optimizer's eval mode puts the parameters."""

    def __init__(self, task: Task, optimizer: Any, effective: Callable[[Optimizer], float]) -> None:
        super().__init__(task, optimizer, effective)
        self._modes: Any = optimizer
        self._modes.train()
        self.forwards_before_evaluate = 0 if no_batch_norm(task.model) else _REFRESHES

    def before_evaluate(self, forwards: Iterable[Callable[[], object]] = ()) -> None:
        self._modes.eval()
        if not self.forwards_before_evaluate:
            return
        model = self.task.model
        training = model.training
        model.train()
        count = 0
        # Dropout draws here, and the run must not notice.
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for forward in forwards:
                forward()
                count += 1
        model.train(training)
        if not count:
            self._modes.train()
            raise InputError(
                "Schedule-Free with batch normalisation must see training batches before it is judged: pass "
                f"before_evaluate {self.forwards_before_evaluate} closures that each run the model on one"
            )

    def after_evaluate(self) -> None:
        self._modes.train()


def _dog(name: str) -> tuple[Any, Any]:
    try:
        import dog as package
    except ImportError as error:
        raise MissingExtraError("dog-optimizer", "bench") from error
    return getattr(package, name), package.PolynomialDecayAverager


def _reps(task: Task) -> float:
    return _REPS if no_batch_norm(task.model) else _REPS_BATCH_NORM


def _mean_eta(optimizer: Optimizer) -> float:
    etas = optimizer.param_groups[0].get("eta")
    return float(torch.stack([torch.as_tensor(eta) for eta in etas]).mean()) if etas else 0.0
