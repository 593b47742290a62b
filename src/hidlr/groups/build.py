"""``param_groups``: from a model to the dicts that any torch optimizer takes."""

import copy
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from hidlr.errors import InputError, InputTypeError

from .patterns import groups_by_pattern
from .schemes import ORDERS, SCHEMES
from .sites import Site, sites_of
from .wording import listed

By = str | Mapping[str, str | Sequence[str]] | Callable[[str, nn.Parameter], str]
"""A scheme's name, group names with patterns, or a function of a parameter's name and itself."""

_RESERVED = ("params", "name", "param_names")


def param_groups(model: nn.Module, by: By, **defaults: Any) -> list[dict[str, Any]]:
    """Divide a model's trainable parameters into named groups for an optimizer.

    Every trainable parameter is in exactly one group, no group is empty, and frozen ones are left
    out. Tied parameters stand once, under their first name.

    Args:
        model: the model, wrapped (DDP, torch.compile, FSDP2, PEFT) or not.
        by: "role" (see `role_of`), "layer" (see `layer_of`), "role_layer" (each role within each layer,
            "layer_3/attention"), "tensor" (one group each), "bias" (bias, rest), "head" (head, rest), "lora"
            (lora_A, lora_B, lora_magnitude, head, rest: those that there are) or "all"; or a dict from group name to a
            pattern or a list of patterns on the parameter's full name, globs or ``"re:..."`` for ``re.search``, of
            which the first match wins; or a callable ``(name, parameter) -> group name``.
        **defaults: options for every group, such as ``weight_decay=0.1``.

    Returns:
        One dict per group, with ``params``, ``name``, ``param_names`` (as ``model.named_parameters()`` gives
        them) and the defaults. Roles come in the order of `ROLES`, patterns in the dict's, the rest as
        they first appear in the model.

    Raises:
        InputTypeError: the model, ``by``, a pattern or what a callable returns has the wrong type.
        InputError: a pattern matches nothing, a parameter fits no pattern, a group would be empty, ``by`` is unknown,
            the model has nothing trainable, or nothing that ``by`` asks for.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> for group in param_groups(model, "role", weight_decay=0.1):
        ...     print(group["name"], group["param_names"], group["weight_decay"])
        mlp ['0.weight'] 0.1
        bias ['0.bias'] 0.1
        head ['2.weight', '2.bias'] 0.1
        >>> [g["name"] for g in param_groups(model, {"biases": "*.bias", "rest": "*"})]
        ['biases', 'rest']
    """
    taken = [key for key in _RESERVED if key in defaults]
    if taken:
        raise InputError(f"{taken[0]!r} is set by param_groups in each group: leave it out of the defaults")
    sites = sites_of(model)
    trainable = [site for site in sites if site.parameter.requires_grad]
    if not trainable:
        raise InputError(_nothing(sites))
    names, order = _assign(sites, trainable, by)
    members: dict[str, list[Site]] = {name: [] for name in order}
    for site, name in zip(trainable, names, strict=True):
        members.setdefault(name, []).append(site)
    return [_group(name, own, defaults) for name, own in members.items() if own]


def _assign(sites: list[Site], trainable: list[Site], by: object) -> tuple[list[str], Sequence[str]]:
    """Give the group of each trainable parameter, and the groups in order as far as they are known."""
    if isinstance(by, str):
        if by not in SCHEMES:
            raise InputError(_unknown(by))
        names = dict(zip((site.name for site in sites), SCHEMES[by](sites), strict=True))
        return [names[site.name] for site in trainable], ORDERS.get(by, ())
    if isinstance(by, Mapping):
        return groups_by_pattern(sites, by), list(by)
    if callable(by) and not isinstance(by, (type, nn.Module)):
        return [_called(by, site) for site in trainable], ()
    raise InputTypeError(
        f"by must be one of {_choices()}, a dict of group name to patterns, or a callable (name, parameter) -> str; "
        f"got {by!r} ({type(by).__name__})"
    )


def _called(by: Callable[..., object], site: Site) -> str:
    name = by(site.name, site.parameter)
    if not isinstance(name, str):
        raise InputTypeError(
            f"by({site.name!r}, parameter) returned {name!r} ({type(name).__name__}): "
            "a callable must return the group's name, a string, for every trainable parameter"
        )
    if not name:
        raise InputError(
            f'by({site.name!r}, parameter) returned an empty string: return a name for every parameter, e.g. "rest"'
        )
    return name


def _group(name: str, sites: list[Site], defaults: Mapping[str, Any]) -> dict[str, Any]:
    # A copy each: a tensor lr or a list shared between the groups would change in all of them at once.
    own = {k: v.clone() if isinstance(v, torch.Tensor) else copy.copy(v) for k, v in defaults.items()}
    return {
        "params": [site.parameter for site in sites],
        "name": name,
        "param_names": [site.name for site in sites],
        **own,
    }


def _choices() -> str:
    return ", ".join(f'"{name}"' for name in SCHEMES)


def _unknown(by: str) -> str:
    near = difflib.get_close_matches(by.lower(), SCHEMES, n=1)
    suggestion = f'did you mean "{near[0]}"? ' if near else ""
    pattern = f'{{"name": {by!r}, "rest": "*"}}'
    return f"by={by!r} is unknown: {suggestion}choose from {_choices()}; a pattern goes in a dict, e.g. {pattern}"


def _nothing(sites: list[Site]) -> str:
    if not sites:
        return "the model has no parameters, so there is nothing to group"
    frozen = listed([site.name for site in sites], "parameter")
    return f"the model has no trainable parameters: {frozen} are frozen; call requires_grad_(True) on some of them"
