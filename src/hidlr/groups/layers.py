"""The layer of each parameter: repeated blocks are counted; what stands before and after has a name."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .blocks import Stack, stacks_of
from .kinds import Kind
from .roles import anatomy_of, site_role
from .sites import Site, sites_of
from .tree import Node, core_of

_LAYERS = frozenset({Kind.LINEAR, Kind.CONV, Kind.RECURRENT, Kind.ATTENTION})
_Place = tuple[str, str]
"""Tower ("" for the whole model) and part: "layer_0", "entry", "final", "head", "rest"."""


@dataclass(frozen=True)
class _Tower:
    """A stack with the part of the model that belongs to it alone.

    Attributes:
        name: what tells it from other towers; "" where it is the only one.
        path: the modules' names under which all belongs to it; None where it is the only one.
        stack: its blocks.
    """

    name: str
    path: tuple[str, ...] | None
    stack: Stack


def layer_of(model: nn.Module) -> dict[str, str]:
    """Give the layer of every parameter, frozen ones included.

    Repeated blocks are ``layer_0``, ``layer_1``, ...: members of one class of an ``nn.ModuleList`` or
    ``nn.Sequential``, the outermost where they are nested. What stands before them is "embedding", or "stem" where
    nothing there embeds; what follows is "head", the last norm and a pooler included. With several rows of blocks
    each has its tower's name before it (``encoder.layer_0``), and so has what belongs to one tower
    alone (``decoder.embedding``, and ``encoder.final`` for a norm after the encoder's blocks). A network
    without blocks counts its linear, convolution and recurrent layers, each with the norm after it. Bare parameters
    beside the blocks that are no embedding are "rest".

    Args:
        model: any module, wrapped or not.

    Returns:
        Names as ``model.named_parameters()`` gives them, each with its layer.

    Raises:
        InputTypeError: the model is no ``nn.Module``.
        InputError: a parameter has no shape yet (lazy modules).

    Example:
        >>> from torch import nn
        >>> set(layer_of(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))).values()) == {"layer_0", "head"}
        True
    """
    sites = sites_of(model)
    return dict(zip((site.name for site in sites), site_layers(sites), strict=True))


def site_layers(sites: Sequence[Site]) -> list[str]:
    """Give the layer of each site.

    Args:
        sites: from `sites_of`.

    Returns:
        One name per site.
    """
    if not sites:
        return []
    core = core_of(sites[0].root)
    anatomy = anatomy_of(sites[0].root)
    roles = [site_role(site, anatomy) for site in sites]
    # A head may repeat modules too (one projection per scale, say); all of it is "head".
    in_head = {node for head in anatomy.heads for node in head.walk()}
    stacks = tuple(stack for stack in stacks_of(core) if stack.container not in in_head)
    if stacks:
        towers = _towers(stacks)
        places = [_place(site, role, towers, core) for site, role in zip(sites, roles, strict=True)]
    else:
        layers = _single_layers(core, anatomy.heads)
        places = [_beside(site, role, layers) for site, role in zip(sites, roles, strict=True)]
    embedding = {place[0] for place, role in zip(places, roles, strict=True) if role == "embedding"}
    return [_spell(tower, part, tower in embedding) for tower, part in places]


def _spell(tower: str, part: str, embeds: bool) -> str:
    if part == "entry":
        part = "embedding" if embeds else "stem"
    return f"{tower}.{part}" if tower else part


def _towers(stacks: tuple[Stack, ...]) -> list[_Tower]:
    if len(stacks) == 1:
        return [_Tower("", None, stacks[0])]
    paths = [stack.container.path for stack in stacks]
    shared = 0
    while len({path[: shared + 1] for path in paths}) == 1:
        shared += 1
    towers = []
    for stack, path in zip(stacks, paths, strict=True):
        # The shortest piece of the path that no other stack has: "encoder" of "encoder.block".
        length = shared + 1
        while sum(other[:length] == path[:length] for other in paths) > 1 and length < len(path):
            length += 1
        towers.append(_Tower(".".join(path[shared:length]), path[:length], stack))
    return towers


def _place(site: Site, role: str, towers: list[_Tower], core: Node) -> _Place:
    node = site.slots[0].node
    for tower in towers:
        for index, member in enumerate(tower.stack.members):
            if any(above is member for above in node.chain()):
                return tower.name, f"layer_{index}"
    if role == "head":
        return "", "head"
    for tower in towers:
        if tower.path is not None and node.path[: len(tower.path)] == tower.path:
            return _in_tower(node, role, tower, after="final")
    if _embeds(node, role):
        return "", "entry"
    if node.order <= core.order or (node.kind is Kind.OTHER and node in towers[0].stack.container.chain()):
        return "", "rest"
    if len(towers) == 1:
        return _in_tower(node, role, towers[0], after="head")
    ahead = [tower for tower in towers if tower.stack.members[0].order > node.order]
    if not ahead:
        return "", "head"
    # Between two towers, a module feeds the next one.
    return (ahead[0].name if len(ahead) < len(towers) else ""), "entry"


def _in_tower(node: Node, role: str, tower: _Tower, after: str) -> _Place:
    """Place what is beside the blocks of one tower."""
    members = tower.stack.members
    before = [index for index, member in enumerate(members) if member.order < node.order]
    if not before or _embeds(node, role):
        return tower.name, "entry"
    if len(before) < len(members):
        # Between two blocks (a DenseNet's transition), a module belongs with the one before it.
        return tower.name, f"layer_{before[-1]}"
    return tower.name, after


def _embeds(node: Node, role: str) -> bool:
    # BART registers the norm of its embeddings ("layernorm_embedding") after the blocks.
    return role == "embedding" or any("embed" in name.lower() for name in node.path)


def _single_layers(core: Node, heads: frozenset[Node]) -> list[Node]:
    """Give the layers of a network without blocks, the head left out."""
    layers = [node for node in core.walk() if node.kind in _LAYERS and node.adapter is None]
    outer = [node for node in layers if not any(above in layers for above in list(node.chain())[1:])]
    return [node for node in outer if not any(above in heads for above in node.chain())]


def _beside(site: Site, role: str, layers: list[Node]) -> _Place:
    node = site.slots[0].node
    if role == "head":
        return "", "head"
    if role == "embedding":
        return "", "entry"
    if node.kind is Kind.OTHER and site.slots[0].adapter is None:
        return "", "rest"
    before = [index for index, layer in enumerate(layers) if layer.order <= node.order]
    if layers:
        return "", f"layer_{before[-1] if before else 0}"
    return "", "rest"
