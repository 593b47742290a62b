"""Prodigy, D-Adaptation and Mechanic: each estimates one scale for the whole model."""

import contextlib
import io

from torch.optim.optimizer import Optimizer

from benchmarks.optimizers import recipe
from benchmarks.peers.peer import PeerRun, Task
from hidlr.errors import MissingExtraError

__all__ = ["dadaptation", "mechanic", "prodigy"]


def prodigy(task: Task) -> PeerRun:
    """Prodigy (arXiv 2306.06101), all defaults; the decay is decoupled by default."""
    try:
        from prodigyopt import Prodigy
    except ImportError as error:
        raise MissingExtraError("prodigyopt", "bench") from error
    with _quiet():
        optimizer = Prodigy(task.parameters, lr=task.rate, weight_decay=task.weight_decay)
    return PeerRun(task, optimizer, _scaled_by_d)


def dadaptation(task: Task) -> PeerRun:
    """D-Adaptation (arXiv 2301.07733) in the variant of the base optimizer."""
    try:
        import dadaptation as package
    except ImportError as error:
        raise MissingExtraError("dadaptation", "bench") from error
    with _quiet():
        if task.base == "adamw":
            # decouple: documented for those who replace AdamW, and off by default.
            optimizer = package.DAdaptAdam(
                task.parameters, lr=task.rate, weight_decay=task.weight_decay, decouple=task.weight_decay > 0
            )
        elif task.base == "lion":
            optimizer = package.DAdaptLion(task.parameters, lr=task.rate, weight_decay=task.weight_decay)
        else:
            momentum = 0.9 if task.base == "momentum" else 0.0
            optimizer = package.DAdaptSGD(task.parameters, lr=task.rate, momentum=momentum)
            return PeerRun(task, optimizer, _scaled_by_d_over_gradient)
    return PeerRun(task, optimizer, _scaled_by_d)


def mechanic(task: Task) -> PeerRun:
    """Mechanic (arXiv 2306.00144) around the base optimizer, all defaults."""
    try:
        from mechanic_pytorch import mechanize
    except ImportError as error:
        raise MissingExtraError("mechanic-pytorch", "bench") from error
    base = recipe(task.base, task.weight_decay, task.model)
    optimizer = mechanize(base.kind)(task.parameters, lr=task.rate, **base.options)
    return PeerRun(task, optimizer, _scaled_by_s)


def _scaled_by_d(optimizer: Optimizer) -> float:
    group = optimizer.param_groups[0]
    return float(group["d"] * group["lr"])


def _scaled_by_d_over_gradient(optimizer: Optimizer) -> float:
    # DAdaptSGD divides by the first gradient's norm.
    return _scaled_by_d(optimizer) / float(optimizer.param_groups[0].get("g0_norm", 1.0))


def _scaled_by_s(optimizer: Optimizer) -> float:
    state = optimizer.state.get("_mechanic")  # type: ignore[call-overload]
    scale = float(state["s"].sum()) if state else 0.0
    return scale * float(optimizer.param_groups[0]["lr"])


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """These packages print a line when decay is decoupled."""
    return contextlib.redirect_stdout(io.StringIO())
