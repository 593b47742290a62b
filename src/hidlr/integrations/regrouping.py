"""Groups for an optimizer that somebody else has built."""

from collections.abc import Hashable
from typing import Any

from torch import nn
from torch.optim.optimizer import Optimizer

from hidlr import InputError, param_groups
from hidlr.compatibility import unwrapped
from hidlr.groups import By

__all__ = ["regroup"]

_OURS = ("params", "param_names", "name")


def regroup(optimizer: Optimizer, model: nn.Module, by: By) -> list[str]:
    """Divide the groups of an optimizer, in place, before its first step.

    Every parameter keeps the options of the group it was in (weight decay, rate). Where the members of a new group
    come from groups with different options it is divided again, and the options tell the parts apart:
    "head" and "head:weight_decay=0.0". Frozen parameters stay, in a group "frozen".

    Args:
        optimizer: any torch optimizer, or a wrapper that holds one.
        model: the model whose parameters it has.
        by: as for `hidlr.param_groups`.

    Returns:
        The names of the groups.

    Raises:
        InputError: the optimizer has stepped already, or has a parameter that the model lacks.
    """
    inner = unwrapped(optimizer)
    if inner.state:
        raise InputError(
            "the optimizer has taken steps already: divide it before the first one, or build it with "
            "hidlr.param_groups(model, by=...)"
        )
    named = {
        id(parameter): (group["name"], name)
        for group in param_groups(model, by)
        for parameter, name in zip(group["params"], group["param_names"], strict=True)
    }
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    parts: dict[tuple[str, Hashable], dict[str, Any]] = {}
    for old in inner.param_groups:
        options = {key: value for key, value in old.items() if key not in _OURS}
        for parameter in old["params"]:
            if not parameter.requires_grad:
                # Not dropped: who thaws them later expects the optimizer to have them.
                named.setdefault(id(parameter), ("frozen", known.get(id(parameter), "")))
            if id(parameter) not in named or id(parameter) not in known:
                raise InputError(
                    f"the optimizer has a parameter of shape {tuple(parameter.shape)} that the model lacks: pass the "
                    "model that the optimizer was built for"
                )
            group, name = named[id(parameter)]
            part = parts.setdefault((group, _key(options)), {"params": [], "param_names": [], "name": group, **options})
            part["params"].append(parameter)
            part["param_names"].append(name)
    order = list(dict.fromkeys(group for group, _ in named.values()))
    groups = sorted(parts.values(), key=lambda part: order.index(part["name"]))  # stable: parts stay in their order
    _tell_apart(groups)
    inner.param_groups[:] = groups
    return [group["name"] for group in groups]


def _tell_apart(groups: list[dict[str, Any]]) -> None:
    """Add to the name of each later part of a group what differs from the first one."""
    first: dict[str, dict[str, Any]] = {}
    for group in groups:
        whole = first.setdefault(group["name"], group)
        if whole is not group:
            differs = [
                f"{key}={value}"
                for key, value in group.items()
                if key not in _OURS and repr(value) != repr(whole.get(key))
            ]
            group["name"] = f"{group['name']}:{','.join(differs)}"


def _key(options: dict[str, Any]) -> Hashable:
    # repr: betas come as lists from a checkpoint, rates as tensors from a compiled optimizer.
    return tuple(sorted((key, repr(value)) for key, value in options.items()))
