"""Which base optimizers can be tuned, and what is wrong with those that cannot."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.optimizer import Optimizer

from hidlr.errors import HidlrWarning, InputError, InputTypeError, UnsupportedOptimizerError

__all__ = ["REFUSED", "check_dense", "check_groups", "check_optimizer", "momentum_of", "unwrapped", "writes_gradients"]

_OWN_RATE = "it sets its own rate, so there is nothing left for hidlr to tune: use it without hidlr, or pass {instead}"
_LATE = "its state remembers past rates, so a change of lr takes effect late: pass {instead}"
_GOES_BACK = "every few steps it goes back towards earlier iterates, which is no step along a direction: pass {instead}"
_ELSEWHERE = "its gradient is of another point than the one it steps from: pass the optimizer inside it"
_IN_BACKWARD = "it steps inside backward, where nothing can be measured: pass AdamW"
# Lower case: packages differ in it (Adafactor, AdaFactor).
REFUSED = {
    "adafactor": "its step is not proportional to lr (relative step sizes): pass AdamW",
    "lbfgs": "its step comes from a line search of its own: pass SGD or AdamW",
    "rprop": _OWN_RATE.format(instead="SGD"),
    "asgd": "its rate decays inside its own state, so a change of lr takes effect a step late: pass SGD",
    "sparseadam": "sparse gradients cannot be placed along a dense step: use sparse=False and Adam",
    "prodigy": _OWN_RATE.format(instead="AdamW"),
    "dog": _OWN_RATE.format(instead="SGD"),
    "ldog": _OWN_RATE.format(instead="SGD"),
    "dowg": _OWN_RATE.format(instead="SGD"),
    "dadaptadam": _OWN_RATE.format(instead="AdamW"),
    "dadaptsgd": _OWN_RATE.format(instead="SGD"),
    "dadaptadagrad": _OWN_RATE.format(instead="Adagrad"),
    "dadaptlion": _OWN_RATE.format(instead="Lion"),
    "dadaptadan": _OWN_RATE.format(instead="Adan"),
    "dadaptadanip": _OWN_RATE.format(instead="Adan"),
    "trac": _OWN_RATE.format(instead="the optimizer inside it"),
    "laprop": _LATE.format(instead="AdamW"),
    "adamod": _LATE.format(instead="AdamW"),
    "amos": _LATE.format(instead="AdamW"),
    "ftrl": _LATE.format(instead="Adagrad"),
    "accsgd": _LATE.format(instead="SGD with momentum"),
    "fromage": "its step is not proportional to lr (it divides by sqrt(1 + lr^2)): pass LARS",
    "nero": "its step is not proportional to lr (it projects after it): pass LARS",
    "splus": "its step is not proportional to lr (it averages its iterates): pass Shampoo or SOAP",
    "lookahead": _GOES_BACK.format(instead="the optimizer inside it"),
    "ranger": _GOES_BACK.format(instead="RAdam"),
    "ranger21": _GOES_BACK.format(instead="AdamW"),
    "sam": _ELSEWHERE,
    "gsam": _ELSEWHERE,
    "wsam": _ELSEWHERE,
    "looksam": _ELSEWHERE,
    "bsam": _ELSEWHERE,
    "lomo": _IN_BACKWARD,
    "adalomo": _IN_BACKWARD,
}
"""Why each base optimizer that cannot be tuned is refused, by the lower-case name of its class."""


def check_optimizer(optimizer: Any) -> Optimizer:
    """The torch optimizer whose steps will be tuned; wrappers that hold one are opened.

    Raises:
        InputTypeError: not a torch optimizer.
        UnsupportedOptimizerError: its steps are not linear in ``lr``, or it sets its own rate.
        InputError: it maximizes.
    """
    if not isinstance(optimizer, Optimizer):
        raise InputTypeError(
            f"HiDLR takes a torch.optim.Optimizer, not {type(optimizer).__name__}: build one first, e.g. "
            "torch.optim.AdamW(hidlr.param_groups(model, by='role'))"
        )
    inner = optimizer
    _check_kind(inner)
    while inner is not (inside := _inside(inner)):
        inner = inside
        _check_kind(inner)
    for index, group in enumerate(inner.param_groups):
        if group.get("maximize"):
            raise InputError(
                f"group {index} maximizes: hidlr lowers a loss; pass maximize=False and the negated objective"
            )
        if "d_coef" in group or ("d" in group and "d0" in group):
            raise UnsupportedOptimizerError(
                f"{type(inner).__name__} cannot be tuned: {_OWN_RATE.format(instead='its plain counterpart')}"
            )
        rate = group.get("lr")
        if rate is None:
            raise UnsupportedOptimizerError(
                f"{type(inner).__name__} cannot be tuned: its group {index} has no lr that scales the step"
            )
    return inner


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer inside wrappers that are optimizers themselves (Accelerate's)."""
    inside = _inside(optimizer)
    return optimizer if inside is optimizer else unwrapped(inside)


def _inside(wrapper: Optimizer) -> Optimizer:
    inside = getattr(wrapper, "optimizer", None)
    return inside if isinstance(inside, Optimizer) else wrapper


def _check_kind(optimizer: Optimizer) -> None:
    """Refuse by the class's name, so that packages that are not installed are known as well."""
    for kind in type(optimizer).__mro__:
        name = kind.__name__.lower()
        if name in REFUSED:
            raise UnsupportedOptimizerError(f"{type(optimizer).__name__} cannot be tuned: {REFUSED[name]}")
        if "schedulefree" in name:
            raise UnsupportedOptimizerError(
                f"{type(optimizer).__name__} cannot be tuned: Schedule-Free averages its iterates, so where it "
                "steps is not where it evaluates; pass its plain counterpart"
            )


def check_groups(optimizer: Optimizer) -> list[str]:
    """Names of the optimizer's groups; unnamed and repeated ones are given names in place, and reported.

    Raises:
        InputError: a negative or non-finite rate, or a parameter in two groups.
    """
    owner: dict[int, int] = {}
    names: list[str] = []
    changed: list[str] = []
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if owner.setdefault(id(parameter), index) != index:
                raise InputError(
                    f"groups {owner[id(parameter)]} and {index} share a parameter of shape {tuple(parameter.shape)}: "
                    "each belongs to one group"
                )
        rate = float(group["lr"])
        if not 0 <= rate < float("inf"):
            raise InputError(
                f"group {group.get('name', index)!r} has lr={rate}: give a finite rate, at least 0 (any start will do)"
            )
        name = group.get("name")
        if not isinstance(name, str) or not name or name in names:
            fallback = "all" if len(optimizer.param_groups) == 1 else f"group_{index}"
            base = name if isinstance(name, str) and name else fallback
            new, number = base, 1
            taken = {other.get("name") for other in optimizer.param_groups} | set(names)
            while new in taken:
                number += 1
                new = f"{base}_{number}"
            changed.append(f"{index}: {name!r} -> {new!r}")
            group["name"] = name = new
        names.append(name)
    # A single unnamed group is the plain `AdamW(model.parameters())`: nothing to get wrong.
    if changed and len(names) > 1:
        warnings.warn(
            f"groups without a name of their own were named ({', '.join(changed[:5])}"
            f"{', ...' if len(changed) > 5 else ''}): rates are saved by name, so name them with "
            "hidlr.param_groups or a 'name' key in each group",
            HidlrWarning,
            stacklevel=3,
        )
    return names


def momentum_of(group: Mapping[str, Any]) -> tuple[float, float]:
    """How a group's steps remember earlier ones: share of the past, and how much longer they become.

    A heavy ball (SGD, RMSprop) adds gradients up, so that its steps grow by 1 / (1 - momentum) in the
    first dozens; Adam's kin, Lion and Muon average them.

    Example:
        >>> momentum_of({"momentum": 0.75}), momentum_of({"betas": (0.9, 0.99)}), momentum_of({})
        ((0.75, 4.0), (0.9, 1.0), (0.0, 1.0))
    """
    betas = group.get("betas")
    averaged = betas[0] if isinstance(betas, Sequence) and betas else group.get("beta1", 0.0)
    if isinstance(averaged, float | int) and averaged > 0:
        return float(averaged), 1.0
    momentum = group.get("momentum", 0.0)
    if not isinstance(momentum, float | int) or not 0 < momentum < 1:
        return 0.0, 1.0
    # Muon normalises the velocity, and dampening takes the growth out.
    grows = "ns_steps" not in group and not group.get("dampening", 0.0)
    return float(momentum), 1 / (1 - momentum) if grows else 1.0


def writes_gradients(optimizer: Optimizer) -> bool:
    """Whether its step may leave other gradients than it found: all but fused ones, which undo a scale at most.

    LARS and Adan do, and torch's SGD with ``nesterov`` and ``foreach``. Fused kernels mark gradients as written to
    even where they are not.
    """
    return not any(group.get("fused") for group in optimizer.param_groups)


def check_dense(parameters: list[torch.Tensor]) -> None:
    """Refuse gradients that cannot be placed along a dense step.

    Raises:
        UnsupportedOptimizerError: a gradient is sparse.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise UnsupportedOptimizerError(
                f"a parameter of shape {tuple(parameter.shape)} has a sparse gradient, which cannot be tuned: "
                "build its embedding with sparse=False"
            )
