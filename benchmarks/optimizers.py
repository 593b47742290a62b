"""Base optimizers by name, at their own defaults but for rate and decay; all are linear in each group's `lr`."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from hidlr.errors import InputError, MissingExtraError
from hidlr.groups import role_of

__all__ = ["MuonWithAdamW", "Recipe", "build", "half_decades", "hidden_matrices", "names", "recipe"]

_NAMES = ("adamw", "momentum", "sgd", "lion", "muon")
_MANTISSAS = ("1", "3")
# Muon's authors leave inputs and outputs to AdamW (arXiv 2502.16982).
_NOT_HIDDEN = frozenset({"embedding", "head", "norm", "bias"})


@dataclass(frozen=True)
class Recipe:
    """How to construct a base optimizer: ``kind(groups, lr=lr, **options)``.

    Attributes:
        kind: a class of torch optimizers.
        options: its arguments besides groups and ``lr``.
    """

    kind: Any
    options: dict[str, Any]


def names() -> tuple[str, ...]:
    """Names of all base optimizers, the usual one first."""
    return _NAMES


def half_decades(name: str) -> tuple[float, ...]:
    """The uniform rates to try, 1e-6, 3e-6, ... 1: the same 13 for every optimizer, so that none is favoured.

    Args:
        name: one of `names()`.

    Raises:
        InputError: no such optimizer.
    """
    _check(name)
    return (*(float(f"{mantissa}e{power}") for power in range(-6, 0) for mantissa in _MANTISSAS), 1.0)


def build(
    name: str,
    param_groups: Iterable[dict[str, Any]],
    lr: float,
    weight_decay: float,
    model: nn.Module | None = None,
) -> Optimizer:
    """A torch optimizer on parameter groups.

    Args:
        name: one of `names()`.
        param_groups: as `hidlr.param_groups` gives them; a group's own ``lr`` wins.
        lr: the rate of the other groups.
        weight_decay: decoupled weight decay; SGD, which knows an L2 penalty only, goes without.
        model: whose parameters they are; "muon" tells hidden matrices from embeddings and heads by it.

    Raises:
        InputError: no such optimizer, or "muon" without a model.
        MissingExtraError: it lives in a package that is absent.
    """
    made = recipe(name, weight_decay, model)
    optimizer: Optimizer = made.kind(list(param_groups), lr=lr, **made.options)
    return optimizer


def recipe(name: str, weight_decay: float, model: nn.Module | None = None) -> Recipe:
    """The class and options of a base optimizer, for what wraps classes (Mechanic) as well as for `build`.

    Args:
        name: one of `names()`.
        weight_decay: as for `build`.
        model: as for `build`.

    Raises:
        InputError: as for `build`.
        MissingExtraError: as for `build`.
    """
    _check(name)
    if name == "sgd":
        return Recipe(torch.optim.SGD, {})
    if name == "momentum":
        return Recipe(torch.optim.SGD, {"momentum": 0.9})
    decay = {"weight_decay": weight_decay}
    if name == "adamw":
        return Recipe(torch.optim.AdamW, decay)
    if name == "lion":
        return Recipe(_lion(), decay)
    if model is None:
        raise InputError(
            "muon tells hidden matrices from embeddings and heads by the model: pass build('muon', ..., model=model)"
        )
    return Recipe(MuonWithAdamW, {**decay, "matrices": hidden_matrices(model)})


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """The parameters that Muon orthogonalises: trainable weights of hidden layers, convolutions among them.

    The answer depends on the model alone and never on a grouping, so that runs with different groups
    train with the same optimizer.

    Args:
        model: any module.
    """
    roles = role_of(model)
    return [
        parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.ndim >= 2 and roles[name] not in _NOT_HIDDEN
    ]


class MuonWithAdamW(Optimizer):
    """`torch.optim.Muon` for hidden matrices and `torch.optim.AdamW` for the rest, behind one list of groups.

    A group may hold both kinds: both step with the group's ``lr``, which Muon scales so that its update
    is as large as AdamW's (arXiv 2502.16982). The step is linear in each group's ``lr``, and
    gradients are left as they are (pytorch_optimizer's Muon, which joins the two as well, overwrites them).

    Args:
        params: parameter groups.
        lr: rate of the groups that name none.
        weight_decay: decoupled weight decay, for both.
        matrices: which parameters Muon takes (two dimensions or more; further ones are flattened).
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, weight_decay: float = 0.01, *, matrices: Iterable[Tensor]
    ) -> None:
        # momentum and ns_steps are Muon's defaults; hidlr reads there how long a step is remembered.
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95, "ns_steps": 5})
        chosen = {id(matrix) for matrix in matrices}
        hidden = [[p for p in group["params"] if id(p) in chosen] for group in self.param_groups]
        others = [[p for p in group["params"] if id(p) not in chosen] for group in self.param_groups]
        self._parts = (
            [_Part(torch.optim.Muon, hidden, flat=True, adjust_lr_fn="match_rms_adamw")] if any(hidden) else []
        )
        if any(others):
            self._parts.append(_Part(torch.optim.AdamW, others, flat=False))

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step(self)
        return loss


class _Part:
    """One of the two optimizers within, on its share of each group."""

    def __init__(
        self, kind: type[Optimizer], groups: Sequence[Sequence[Tensor]], *, flat: bool, **options: Any
    ) -> None:
        self._pairs = [[(p, nn.Parameter(_matrix(p)) if flat else p) for p in group] for group in groups]
        inner = [{"params": [p for _, p in pairs], "index": index} for index, pairs in enumerate(self._pairs) if pairs]
        self._optimizer = kind(inner, **options)

    def step(self, outer: Optimizer) -> None:
        for group in self._optimizer.param_groups:
            shown = outer.param_groups[group["index"]]
            group.update(lr=shown["lr"], weight_decay=shown["weight_decay"])
            for parameter, own in self._pairs[group["index"]]:
                if own is not parameter:
                    # Anew each time: others may have replaced the storage.
                    own.data = _matrix(parameter)
                    own.grad = None if parameter.grad is None else parameter.grad.reshape(own.shape)
                if parameter.grad is not None:
                    # One state for outer and inner: what is saved and loaded outside is what is used inside.
                    self._optimizer.state[own] = outer.state[parameter]
        self._optimizer.step()


def _matrix(parameter: Tensor) -> Tensor:
    """The same numbers as a matrix with one row per output."""
    return parameter.detach().view(len(parameter), -1)


def _lion() -> type[Optimizer]:
    try:
        from pytorch_optimizer import Lion
    except ImportError as error:
        raise MissingExtraError("pytorch_optimizer", "bench") from error
    kind: type[Optimizer] = Lion
    return kind


def _check(name: str) -> None:
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown optimizer {name!r}: {hint}There are {', '.join(_NAMES)}.")
