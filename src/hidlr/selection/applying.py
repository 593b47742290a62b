"""A selection on a live model: everything is checked before anything is changed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import Optimizer

from hidlr.compatibility import unwrapped
from hidlr.errors import InputError, InputTypeError, StateError
from hidlr.groups import Located, located

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["Checked", "apply", "checked", "forget", "undo"]


@dataclass(frozen=True)
class Checked:
    """Parameters of a model that a selection fits.

    Attributes:
        kept: to train.
        frozen: to freeze.
    """

    kept: tuple[Located, ...]
    frozen: tuple[Located, ...]


def checked(selection: "Selection", model: nn.Module) -> Checked:
    """Find every parameter of a selection in a model.

    Raises:
        StateError: the selection is of another architecture, or does not know its parameters.
        InputError: the model is wrapped already, or a chosen layer is quantised.
    """
    _check_wrapping(model)
    found = located(model)
    kept, frozen = _names(selection)
    missing = [name for name in (*kept, *frozen) if name not in found]
    extra = [
        name
        for name, own in found.items()
        if name not in {*kept, *frozen} and any(parameter.requires_grad for parameter in own.parameters)
    ]
    if missing or extra:
        told = [
            f"{what} {len(names)} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
            for names, what in ((missing, "the model lacks"), (extra, "trainable ones the selection does not mention:"))
            if names
        ]
        raise StateError(
            f"the selection is of other parameters: {'; '.join(told)}. For another architecture use "
            "selection.transfer(model).apply(model); freeze what was not measured yourself, or measure it."
        )
    for name in kept:
        for parameter in found[name].parameters:
            if not (parameter.is_floating_point() or parameter.is_complex()):
                raise InputError(
                    f"{name!r} is quantised ({parameter.dtype}) and cannot be trained: leave it out with never=, "
                    "or train LoRA beside it (selection.to_peft())"
                )
    return Checked(tuple(found[name] for name in kept), tuple(found[name] for name in frozen))


def apply(selection: "Selection", model: nn.Module, optimizer: Optimizer | None) -> dict[str, bool]:
    """Freeze what the selection freezes, thaw what it keeps.

    Returns:
        requires_grad before, by name.

    Raises:
        StateError, InputError: as `checked`; nothing is changed then.
        InputTypeError: something that is no optimizer.
    """
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise InputTypeError(f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
    plan = checked(selection, model)
    before = {
        own.name: all(parameter.requires_grad for parameter in own.parameters) for own in (*plan.kept, *plan.frozen)
    }
    for own in plan.kept:
        for parameter in own.parameters:
            parameter.requires_grad_(True)
    for own in plan.frozen:
        for parameter in own.parameters:
            forget(parameter, optimizer)
    return before


def undo(selection: "Selection", model: nn.Module, before: dict[str, bool] | None) -> None:
    """Set requires_grad back; with nothing known from before, thaw all that was measured.

    Raises:
        StateError: the model has not the selection's parameters.
    """
    kept, frozen = _names(selection)
    flags = dict.fromkeys((*kept, *frozen), True) if before is None else before
    found = located(model)
    missing = [name for name in flags if name not in found]
    if missing:
        raise StateError(f"the selection is of another model, which has {missing[:5]}: pass the one it was applied to")
    for name, flag in flags.items():
        for parameter in found[name].parameters:
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.requires_grad_(flag)


def forget(parameter: nn.Parameter, optimizer: Optimizer | None) -> None:
    """Freeze one parameter: no flag, no gradient, no state."""
    parameter.requires_grad_(False)
    parameter.grad = None
    if optimizer is not None:
        unwrapped(optimizer).state.pop(parameter, None)


def _names(selection: "Selection") -> tuple[list[str], list[str]]:
    unknown = [group.name for group in selection.groups if group.size and not group.parameters]
    if unknown:
        raise StateError(
            f"the selection does not know which parameters groups {unknown[:5]} hold: select from "
            "influence.located(model, hidlr.param_groups(model, by=...)), or build the optimizer from "
            "hidlr.param_groups"
        )
    kept = [name for group in selection.groups if group.kept for name in group.parameters]
    frozen = [name for group in selection.groups if not group.kept for name in group.parameters]
    return kept, frozen


def _check_wrapping(model: nn.Module) -> None:
    for module in model.modules() if isinstance(model, nn.Module) else ():
        kind = type(module).__name__
        if isinstance(module, DistributedDataParallel) or kind == "FullyShardedDataParallel":
            raise InputError(
                f"the model is wrapped in {kind}, which has planned its communication for the parameters as they "
                "were: apply the selection to the bare model first, then wrap it"
            )
