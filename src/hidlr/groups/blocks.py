"""The repeated blocks of a model, told by position: members of one container and of one class."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from .kinds import Kind, is_vector
from .tree import Node

_LEAVES = frozenset({Kind.LINEAR, Kind.CONV, Kind.NORM, Kind.EMBEDDING, Kind.RECURRENT})


@dataclass(frozen=True, eq=False)
class Stack:
    """A row of repeated blocks.

    Attributes:
        container: the module that holds them (an ``nn.ModuleList``, mostly).
        members: the blocks, in order; at least one.
    """

    container: Node
    members: tuple[Node, ...]


def stacks_of(root: Node) -> tuple[Stack, ...]:
    """Find the rows of repeated blocks, outermost first where they are nested.

    Children of an ``nn.ModuleList`` or ``nn.Sequential`` that have one class (for containers: one structure)
    and are no single layers; of several classes in one container the most frequent. Where a model has none: the
    single block of such a container (a model of depth one); then attributes of one class side by side that
    are numbered (``self.block1``, ``self.block2``; an actor and a critic are no stack).

    Args:
        root: the tree of a model.

    Returns:
        The stacks in the model's order; empty for a plain network of single layers.
    """
    found = _search(root, _repeated_in_container)
    classes = {type(member.module) for stack in found for member in stack.members if not _generic(member)}
    if found:
        # ResNets hold stages of one block too: a class that repeats elsewhere is a block here as well.
        return _search(root, lambda node: _repeated_in_container(node) or _single(node, classes))
    return _search(root, _only_member) or _search(root, _repeated_attributes)


def block_nodes(root: Node, attention: frozenset[Node]) -> frozenset[Node]:
    """Find all that counts as a block when a head is looked for.

    Args:
        root: the tree of a model.
        attention: the attention modules in it.

    Returns:
        The members of stacks, the members of any ``nn.ModuleList`` that are no single layers, torch's own
        transformer layers, and each module that holds attention beside other things.
    """
    found = {member for stack in stacks_of(root) for member in stack.members}
    for node in root.walk():
        if isinstance(node.module, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            found.add(node)
        if isinstance(node.module, nn.ModuleList):
            found |= {child for child in node.children if _is_block(child)}
        outermost = node in attention and not any(above in attention for above in list(node.chain())[1:])
        if outermost and node.parent not in (None, root):
            found.add(node.parent)
    return frozenset(found)


def _is_block(node: Node) -> bool:
    """Say whether a module is more than a single layer."""
    if node.kind in _LEAVES:
        return False
    inner = any(child.has_parameters() for child in node.children if child.adapter is None)
    return inner or any(not is_vector(slot.parameter) for slot in node.slots)


def _generic(node: Node) -> bool:
    return type(node.module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _signature(node: Node) -> tuple[object, ...]:
    """Tell classes apart; two containers are of one class if both are stages, or their members agree."""
    if not _generic(node):
        return (type(node.module),)
    within = [child for child in node.children if child.has_parameters()]
    if all(_is_block(child) and not _generic(child) for child in within):
        # EfficientNet's stages differ in depth and class of their blocks, and are stages all the same.
        return (type(node.module),)
    return (type(node.module), *(_signature(child) for child in node.children))


def _search(root: Node, repeated: Callable[[Node], tuple[Node, ...]]) -> tuple[Stack, ...]:
    members = repeated(root)
    if members:
        return (Stack(root, members),)
    return tuple(stack for child in root.children for stack in _search(child, repeated))


def _largest_class(nodes: list[Node]) -> tuple[Node, ...]:
    classes: defaultdict[tuple[object, ...], list[Node]] = defaultdict(list)
    for node in nodes:
        classes[_signature(node)].append(node)
    largest = max(classes.values(), key=len, default=[])
    return tuple(largest) if len(largest) > 1 else ()


def _repeated_in_container(node: Node) -> tuple[Node, ...]:
    if not isinstance(node.module, (nn.ModuleList, nn.Sequential)):
        return ()
    return _largest_class([child for child in node.children if _is_block(child)])


def _single(node: Node, classes: set[type[nn.Module]]) -> tuple[Node, ...]:
    if not isinstance(node.module, (nn.ModuleList, nn.Sequential)):
        return ()
    blocks = [child for child in node.children if type(child.module) in classes]
    return tuple(blocks) if len(blocks) == 1 else ()


def _only_member(node: Node) -> tuple[Node, ...]:
    if not isinstance(node.module, (nn.ModuleList, nn.Sequential)):
        return ()
    with_parameters = [child for child in node.children if child.has_parameters()]
    alone = len(with_parameters) == 1 and _is_block(with_parameters[0])
    return (with_parameters[0],) if alone and not _generic(with_parameters[0]) else ()


def _repeated_attributes(node: Node) -> tuple[Node, ...]:
    numbered: defaultdict[str, list[Node]] = defaultdict(list)
    for child in node.children:
        name = child.path[-1]
        if name[-1:].isdigit() and _is_block(child) and not _generic(child):
            numbered[name.rstrip("0123456789")].append(child)
    return max(map(_largest_class, numbered.values()), key=len, default=())
