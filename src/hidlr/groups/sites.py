"""The parameters of a model: each once, with its names and all the places where it sits."""

from dataclasses import dataclass

from torch import nn
from torch.nn.parameter import is_lazy

from hidlr.errors import InputError, InputTypeError

from .tree import Node, Slot, tree_of

_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})


@dataclass(frozen=True, eq=False)
class Site:
    """A parameter and where it is.

    Attributes:
        name: as ``model.named_parameters()`` gives it; a tied parameter has its first name.
        plain: the same without the parts that DDP, FSDP and torch.compile add.
        aliases: further names of a tied parameter, without those of wrappers and adapters.
        parameter: the parameter itself.
        slots: its places in the tree; at least one.
        root: the tree of the model.
    """

    name: str
    plain: str
    aliases: tuple[str, ...]
    parameter: nn.Parameter
    slots: tuple[Slot, ...]
    root: Node


def sites_of(model: nn.Module) -> list[Site]:
    """List the parameters of a model, frozen ones included, in the model's order.

    Args:
        model: any module.

    Returns:
        One site per parameter.

    Raises:
        InputTypeError: the model is no ``nn.Module``.
        InputError: a parameter has no shape yet (lazy modules), or FSDP1 has flattened it.
    """
    if not isinstance(model, nn.Module):
        raise InputTypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    named = list(model.named_parameters())
    for name, parameter in named:
        _check(name, parameter)
    root = tree_of(model)
    slots: dict[int, list[Slot]] = {}
    for node in root.walk():
        for slot in node.slots:
            slots.setdefault(id(slot.parameter), []).append(slot)
    wrapped = _wrapped_in_module(model)
    sites = []
    for name, parameter in named:
        plain = _plain(name, wrapped)
        # A model may name parameters by its own named_parameters: then they count as bare ones at the root.
        places = slots.get(id(parameter)) or [Slot(root, plain.rpartition(".")[2], parameter)]
        # Not named_parameters(remove_duplicate=False): it never ends where a module refers to its parent.
        aliases = tuple(".".join((*slot.node.path, slot.attribute)) for slot in places[1:])
        sites.append(Site(name, plain, aliases, parameter, tuple(places), root))
    return sites


def _check(name: str, parameter: nn.Parameter) -> None:
    if is_lazy(parameter):
        raise InputError(f"parameter {name!r} is lazy and has no shape yet: run one forward pass before making groups")
    if name.rpartition(".")[2] == "_flat_param":
        raise InputError(
            f"{name!r} is FSDP1's flat parameter, in which layers cannot be told apart: "
            "use torch.distributed.fsdp.fully_shard, or FSDP(..., use_orig_params=True)"
        )


def _wrapped_in_module(model: nn.Module) -> int:
    """Count the wrappers around the whole model that call it ``module``."""
    count = 0
    module: nn.Module | None = model
    while module is not None:
        children = module._modules
        if "module" in children and len(children) == 1 and not module._parameters:
            count, module = count + 1, children["module"]
        else:
            module = next((children[name] for name in _WRAPPERS if name in children), None)
    return count


def _plain(name: str, wrapped: int) -> str:
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    return ".".join(parts[wrapped:])
