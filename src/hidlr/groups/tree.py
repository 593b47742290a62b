"""A model as a tree of its modules, with wrappers (DDP, torch.compile, FSDP, PEFT) folded away."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from .adapters import adapter_part, base_child
from .kinds import Kind, kind_of

_PLAIN_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(frozen=True, eq=False)
class Slot:
    """One place where a parameter sits; a tied parameter has several.

    Attributes:
        node: the module that owns it.
        attribute: its name there, "weight" also where a parametrization has moved it.
        parameter: the parameter itself.
        adapter: which part of LoRA it is ("lora_A", "lora_B", "lora_magnitude"); None for the rest.
    """

    node: "Node"
    attribute: str
    parameter: nn.Parameter
    adapter: str | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """A module in its place, wrappers around it folded away.

    Attributes:
        module: the innermost module (of a LoRA layer, the linear map that it adapts).
        path: names from the root to here, without those of wrappers.
        parent: the node above; None at the root.
        order: position in registration order, counted from 0 at the root.
        kind: what the module is.
        adapter: which part of LoRA it belongs to; None for the rest.
        children: nodes below, in registration order.
        slots: the module's own parameters.
    """

    module: nn.Module
    path: tuple[str, ...]
    parent: "Node | None"
    order: int
    kind: Kind
    adapter: str | None = None
    children: list["Node"] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)

    def chain(self) -> Iterator["Node"]:
        """Give this node and those above it, nearest first."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def walk(self) -> Iterator["Node"]:
        """Give this node and all below it, in registration order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def has_parameters(self) -> bool:
        """Say whether this node or one below it holds a parameter."""
        return any(node.slots for node in self.walk())


def tree_of(model: nn.Module) -> Node:
    """Build the tree of a model.

    Args:
        model: any module, wrapped or not.

    Returns:
        The root; each module stands at every place where it is registered, so shared ones occur often.
    """
    return _Builder().build(model, (), None, None)


def core_of(root: Node) -> Node:
    """Step down through shells: modules that hold nothing but one other (a LightningModule, say).

    Args:
        root: the tree of a model.

    Returns:
        The first node with parameters of its own or in two children, or the first layer.
    """
    while not root.slots:
        within = [child for child in root.children if child.has_parameters()]
        if len(within) != 1 or isinstance(root.module, (nn.Sequential, nn.ModuleList)):
            break
        root = within[0]
    return root


class _Builder:
    """Numbers the nodes as they are built."""

    def __init__(self) -> None:
        self._count = 0
        self._open: set[int] = set()

    def build(self, module: nn.Module, path: tuple[str, ...], parent: Node | None, adapter: str | None) -> Node:
        layers = _unwrap(module, at_root=parent is None)
        inner = layers[-1]
        node = Node(inner, path, parent, self._count, kind_of(inner), adapter)
        self._count += 1
        inside = {id(layer) for layer in layers}
        # Modules may refer to their parents; without this a cycle would never end.
        self._open |= inside
        for layer in reversed(layers):
            self._fill(node, layer, inside)
        self._open -= inside
        return node

    def _fill(self, node: Node, layer: nn.Module, inside: set[int]) -> None:
        for name, parameter in layer._parameters.items():
            if parameter is not None:
                node.slots.append(Slot(node, name, parameter, adapter_part(name, layer) or node.adapter))
        for name, child in layer._modules.items():
            if child is None or id(child) in inside or id(child) in self._open:
                continue
            if name == "parametrizations" and isinstance(child, nn.ModuleDict):
                for attribute, parametrization in child.items():
                    self._parametrized(node, attribute, parametrization)
                continue
            part = adapter_part(name, layer) or node.adapter
            for place in _copies(child):
                node.children.append(self.build(place, (*node.path, name), node, part))

    def _parametrized(self, node: Node, attribute: str, parametrization: nn.Module) -> None:
        """Give what a parametrization holds (``original0``) the name that it stands for (``weight``)."""
        for parameter in parametrization._parameters.values():
            if parameter is not None:
                node.slots.append(Slot(node, attribute, parameter, node.adapter))
        for name, child in parametrization._modules.items():
            if child is not None:
                node.children.append(self.build(child, (*node.path, attribute, name), node, node.adapter))


def _unwrap(module: nn.Module, at_root: bool) -> list[nn.Module]:
    """Give the module and what it wraps, outermost first."""
    layers = [module]
    while (inner := _wrapped(layers[-1], at_root)) is not None:
        layers.append(inner)
    return layers


def _wrapped(module: nn.Module, at_root: bool) -> nn.Module | None:
    children = module._modules
    for name in _PLAIN_WRAPPERS:
        if name in children:
            return children[name]
    if "module" in children and not module._parameters:
        # Deep in a model "module" may be a user's own name; around all of it, it is DDP's and its kin's.
        around_all = at_root and len(children) == 1
        if around_all or isinstance(module, (DataParallel, DistributedDataParallel)):
            return children["module"]
    return base_child(module)


def _copies(module: nn.Module) -> list[nn.Module]:
    """Give the copies of a module that PEFT keeps under ``modules_to_save``, the original first."""
    children = module._modules
    original, saved = children.get("original_module"), children.get("modules_to_save")
    if original is None or saved is None:
        return [module]
    return [original, *(copy for copy in saved._modules.values() if copy is not None)]
