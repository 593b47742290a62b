"""Where the head is: the linear maps at the output, told by position; names decide only between equals."""

import re

from torch import nn

from .attention import linear_children
from .blocks import stacks_of
from .kinds import Kind, features, is_pointwise
from .tree import Node

_WEIGHTED = frozenset({Kind.LINEAR, Kind.CONV, Kind.RECURRENT, Kind.ATTENTION})
_HEAD_NAME = re.compile(r"(?:^|_)(?:heads?|classifier|logits|score|qa_outputs|lm_head)(?:_|$)")

Width = tuple[int, int]


def head_nodes(core: Node, blocks: frozenset[Node], attention: frozenset[Node]) -> frozenset[Node]:
    """Find the head.

    In a transformers model: what stands beside the base model. Elsewhere: the last linear map
    outside the blocks, if nothing that mixes positions (a convolution, a recurrent layer, a block) comes after it, and
    those parallel to it (policy and value, ``head`` and ``head_dist``); if there is no linear map, a last
    convolution of kernel size 1.

    Args:
        core: the tree of a model, shells stripped (`core_of`).
        blocks: from `block_nodes`.
        attention: from `attention_nodes`.

    Returns:
        Modules of which all linear maps, with their biases, are the head; empty where none can be told.
    """
    base = _transformers_base(core)
    if base is None:
        return _by_position(core, blocks, attention)
    found: set[Node] = set()
    for child in core.children:
        if child is base or not child.has_parameters():
            continue
        # A decoder beside the base model (masked autoencoders) is no head, but may end in one.
        whole = not any(node in attention for node in child.walk())
        found |= {child} if whole else _by_position(child, blocks, attention)
    return frozenset(found)


def _transformers_base(core: Node) -> Node | None:
    prefix = getattr(core.module, "base_model_prefix", None)
    if not isinstance(prefix, str) or not hasattr(core.module, "config"):
        return None
    return next((child for child in core.children if child.path[-1] == prefix), None)


def _by_position(core: Node, blocks: frozenset[Node], attention: frozenset[Node]) -> frozenset[Node]:
    weighted = [node for node in core.walk() if node.kind in _WEIGHTED and node.adapter is None]
    if not weighted:
        return frozenset()
    last = weighted[-1]
    if last.kind is Kind.LINEAR and all(isinstance(n.module, nn.Sequential) for n in _between(last, core)):
        # Sequentials run in order, so here position is certain.
        return frozenset({last})
    inside = {node for block in blocks for node in block.walk()}
    inside |= {node for n in attention if n is not core for node in n.walk()}
    maps = [node for node in weighted if node not in inside and _is_candidate(node, core, attention)]
    ends = [node.order for node in weighted if node.kind is not Kind.LINEAR or node in inside]
    trailing = [node for node in maps if node.order > max(ends, default=-1)]
    towers = len(stacks_of(core)) > 1
    found = _outputs(trailing, towers)
    named = [node for node in maps if _named(node, core) and not _feeds(node, maps)]
    if named:
        # Registration order is not execution order: a head may be written before the blocks, or before a time
        # embedding that could feed it.
        taken = [features(node.module) for node in named]
        found = [n for n in found if _named(n, core) or not _could_feed(n, taken)]
        return frozenset(found if any(_named(n, core) for n in found) else named)
    if not maps and is_pointwise(last.module) and last not in inside:
        return frozenset({last})
    return frozenset(found)


def _between(node: Node, core: Node) -> list[Node]:
    """Give the modules strictly above a node, up to the core."""
    return [above for above in node.chain() if above is not node and above.order >= core.order]


def _is_candidate(node: Node, core: Node, attention: frozenset[Node]) -> bool:
    if node.kind is not Kind.LINEAR:
        return False
    # The pooler of a bare encoder is pretrained with it and feeds a head that is not there yet.
    if any("pooler" in name.lower() for name in (*node.path, *_classes(node))):
        return False
    if core in attention and node in linear_children(core):
        # A model that is one attention layer: its output projection keeps the width, a classifier does not.
        width = features(node.module)
        return width is not None and width[0] != width[1] and node is list(linear_children(core))[-1]
    return True


def _classes(node: Node) -> list[str]:
    return [type(above.module).__name__ for above in node.chain()]


def _outputs(trailing: list[Node], towers: bool) -> list[Node]:
    """Give the last of the linear maps and those that run beside it, on the same input."""
    if not trailing:
        return []
    last = trailing[-1]
    width = features(last.module)
    found = [last]
    for node in trailing[:-1]:
        beside = features(node.module)
        if width is None or beside is None:
            continue
        # Two towers end in two projections to one space (CLIP), whose widths alone would let them be chained.
        twins = towers and node.parent is last.parent and beside[1] == width[1]
        if twins or (beside[0] == width[0] and not _feeds(node, trailing)):
            found.append(node)
    return found


def _feeds(node: Node, maps: list[Node]) -> bool:
    """Say whether a later linear map could take this one's output."""
    return _could_feed(node, [features(other.module) for other in maps if other.order > node.order])


def _could_feed(node: Node, others: list[Width | None]) -> bool:
    width = features(node.module)
    return width is not None and any(other is not None and other[0] == width[1] for other in others)


def _named(node: Node, core: Node) -> bool:
    return any(_HEAD_NAME.search(name.lower()) for name in node.path[len(core.path) :])
