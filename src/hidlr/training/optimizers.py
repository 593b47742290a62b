"""Base optimizers by name: a new one joins by adding a row."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from hidlr.errors import InputError, MissingExtraError

__all__ = ["build", "grid", "names"]

# Half-decade steps. Rates that work lie where an update's size does: about lr for methods that normalise
# it, lr x the gradient's for the others, a tenth for the sign of a momentum (Lion, arXiv 2302.06675).
_NORMALISED = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
_GRADIENT = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
_SIGN = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)


@dataclass(frozen=True)
class _Row:
    make: Callable[..., torch.optim.Optimizer]
    grid: tuple[float, ...]
    options: tuple[tuple[str, Any], ...] = ()
    decays: bool = False


def _lion(params: Iterable[dict[str, Any]], **options: Any) -> torch.optim.Optimizer:
    try:
        from pytorch_optimizer import Lion
    except ImportError as error:
        raise MissingExtraError("pytorch_optimizer", "test") from error
    optimizer: torch.optim.Optimizer = Lion(params, **options)
    return optimizer


_OPTIMIZERS = {
    "adamw": _Row(torch.optim.AdamW, _NORMALISED, decays=True),
    "adam": _Row(torch.optim.Adam, _NORMALISED),
    "sgd": _Row(torch.optim.SGD, _GRADIENT),
    "momentum": _Row(torch.optim.SGD, _GRADIENT, (("momentum", 0.9),)),
    "nesterov": _Row(torch.optim.SGD, _GRADIENT, (("momentum", 0.9), ("nesterov", True))),
    "rmsprop": _Row(torch.optim.RMSprop, _NORMALISED),
    "adagrad": _Row(torch.optim.Adagrad, _GRADIENT),
    "lion": _Row(_lion, _SIGN, decays=True),
}


def names() -> tuple[str, ...]:
    """Names of all base optimizers, the usual one first."""
    return tuple(_OPTIMIZERS)


def build(name: str, params: Iterable[dict[str, Any]], *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """A torch optimizer on parameter groups.

    Args:
        name: one of `names()`.
        params: parameter groups.
        lr: the rate of every group.
        weight_decay: decoupled weight decay; optimizers that only know an L2 penalty go without.

    Raises:
        InputError: no such optimizer; the message suggests the nearest.
        MissingExtraError: it lives in a package that is absent.
    """
    row = _row(name)
    options = dict(row.options)
    if row.decays:
        options["weight_decay"] = weight_decay
    return row.make(params, lr=lr, **options)


def grid(name: str) -> tuple[float, ...]:
    """The uniform rates that a search by hand would try."""
    return _row(name).grid


def _row(name: str) -> _Row:
    if name not in _OPTIMIZERS:
        near = difflib.get_close_matches(name, _OPTIMIZERS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown optimizer {name!r}: {hint}There are {', '.join(_OPTIMIZERS)}.")
    return _OPTIMIZERS[name]
