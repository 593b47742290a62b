"""Which modules are attention: by type, by query/key/value maps of fitting shapes, by class name last."""

import re

from torch import nn

from .kinds import Kind, features, is_pointwise, is_vector
from .tree import Node, Slot

_TOKEN = re.compile(r"(?:w|to)?(queries|query|keys|key|values|value|qkv|kv|qk|q|k|v)(?:proj|lin|linear)?")
_LETTERS = {"queries": "q", "query": "q", "keys": "k", "key": "k", "values": "v", "value": "v"}


def attention_nodes(root: Node) -> frozenset[Node]:
    """Find the modules whose linear maps are attention's.

    A module is attention if it is ``nn.MultiheadAttention``; else if its own linear maps (or matrices) are
    query, key and value, apart or fused; else if it holds just two linear maps, one to three times the
    width and one of the width alone; else if its class is called so and it is not a whole block.

    Args:
        root: the tree of a model.

    Returns:
        The attention modules, those within others included.
    """
    by_structure = {node for node in root.walk() if node.kind is Kind.ATTENTION or _has_qkv(node)}
    by_name = {
        node
        for node in root.walk()
        if node is not root and _named_attention(node.module) and not _holds_more(node, by_structure)
    }
    return frozenset(by_structure | by_name)


def within_attention(slot: Slot, attention: frozenset[Node]) -> bool:
    """Say whether a parameter's module is part of attention.

    Args:
        slot: where the parameter sits.
        attention: from `attention_nodes`.

    Returns:
        True inside an attention module, save for a feed-forward in it (flat blocks, attention pooling).
    """
    path = list(slot.node.chain())
    for below, node in zip([None, *path], path, strict=False):
        if node in attention:
            return below is None or below not in _feed_forward(node)
    return False


def linear_children(node: Node) -> dict[Node, tuple[int, int]]:
    """Give the linear maps directly in a module or in a Sequential in it, with their widths."""
    found: dict[Node, tuple[int, int]] = {}
    for child in node.children:
        inner = child.children if isinstance(child.module, nn.Sequential) else [child]
        for leaf in inner:
            if leaf.adapter is None and (leaf.kind is Kind.LINEAR or is_pointwise(leaf.module)):
                width = features(leaf.module)
                if width is not None:
                    found[leaf] = width
    return found


def _letters(name: str) -> set[str]:
    """Give which of q, k and v a name speaks of: ``q_proj``, ``to_kv``, ``Wqkv``, ``query_key_value``."""
    matches = (_TOKEN.fullmatch(token) for token in re.split(r"[\W_\d]+", name.lower()))
    return {letter for m in matches if m is not None for letter in _LETTERS.get(m[1], m[1])}


def _has_qkv(node: Node) -> bool:
    if isinstance(node.module, (nn.Sequential, nn.ModuleList)):
        return False
    maps = linear_children(node)
    letters = [(_letters(leaf.path[len(node.path)]), width) for leaf, width in maps.items()]
    own = [_letters(slot.attribute) for slot in node.slots if not is_vector(slot.parameter)]
    if set().union(*own, *(found for found, _ in letters)) >= {"q", "k", "v"}:
        # Keys and values are two maps of one input; were they not, the names would mean something else.
        return len({width[0] for found, width in letters if found in ({"k"}, {"v"})}) <= 1
    widths = list(maps.values())
    if len(widths) != 2:
        return False
    (inputs, fused), (last, outputs) = widths
    # d -> 3d and then d -> d cannot be composed as they are: the 3d is split, as query, key, value are.
    return fused == 3 * inputs and inputs == last == outputs


def _named_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "attention" in name or "attn" in name


def _holds_more(node: Node, by_structure: set[Node]) -> bool:
    """Say whether a module that is called attention is a block or a stage: it holds a feed-forward too."""
    within = {below for inner in node.walk() if inner in by_structure for below in inner.walk()}
    outside = [n for n in node.walk() if n.kind is Kind.LINEAR and n.adapter is None and n not in within]
    embeds = any(n.kind is Kind.EMBEDDING and n not in within for n in node.walk())
    # One map outside is the output projection (BertAttention); two make a feed-forward.
    return node not in by_structure and bool(within) and (len(outside) > 1 or embeds)


def _feed_forward(node: Node) -> set[Node]:
    """Give what is a feed-forward in an attention module: maps beside q, k and v, or a module of its own."""
    inner = {child for child in node.children if child not in linear_children(node) and _widening(child)}
    return _widening(node) | inner


def _widening(node: Node) -> set[Node]:
    """Give the linear maps in a module that widen and narrow again, d -> h and h -> d with h > d."""
    maps = {leaf: w for leaf, w in linear_children(node).items() if not _letters(leaf.path[len(node.path)])}
    found: set[Node] = set()
    for first, (inputs, hidden) in maps.items():
        for second, (back, outputs) in maps.items():
            if hidden == back and inputs == outputs and hidden > inputs:
                found |= {first, second}
    return found
