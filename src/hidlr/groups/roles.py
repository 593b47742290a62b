"""The role of each parameter: by the type of its module, its position, its shape; by its name last."""

import re
from dataclasses import dataclass

from torch import nn

from .attention import attention_nodes, within_attention
from .blocks import block_nodes
from .heads import head_nodes
from .kinds import Kind, is_pointwise, is_vector, names_embedding
from .sites import Site, sites_of
from .tree import Node, Slot, core_of

ROLES = (
    "embedding",
    "attention",
    "mlp",
    "conv",
    "recurrent",
    "bias",
    "norm",
    "head",
    "lora_A",
    "lora_B",
    "lora_magnitude",
    "other",
)
"""Every role, in the order in which ``param_groups(model, by="role")`` gives its groups."""

_BIAS = re.compile(r"(?:^|_)bias(?:es)?(?:_|$)|^b$")
_EMBEDDING = re.compile(r"(?:^|_)(?:pos|position|positions|positional|embed|embeds|embedding|embeddings)(?:_|$)")
_TOKEN = re.compile(r"(?:^|_)(?:cls|dist|class|reg|register|mask|trainable)_(?:tokens?|embed)")
_FEED_FORWARD = re.compile(r"expert|moe|mlp|ffn|feed_?forward", re.IGNORECASE)


@dataclass(frozen=True)
class Anatomy:
    """What is known of a model before its parameters are looked at one by one.

    Attributes:
        attention: modules that are attention.
        blocks: modules that are repeated blocks, or as good as.
        heads: modules whose linear maps are the head.
        first_block: the registration order of the first block; infinite where there is none.
        embeds: whether something outside the blocks plainly embeds the input (an ``nn.Embedding``, a convolution).
    """

    attention: frozenset[Node]
    blocks: frozenset[Node]
    heads: frozenset[Node]
    first_block: float
    embeds: bool


def role_of(model: nn.Module) -> dict[str, str]:
    """Give the role of every parameter, frozen ones included.

    Module types decide first, then position, then shapes, and names only for what is left. Tied
    parameters stand once, under their first name; tied to an embedding, they are embedding.

    - embedding: token, position and patch embeddings; class tokens; relative position biases. A linear map
      before the first block of a transformer that has no other embedding is one too.
    - attention: the matrices of query, key, value and output, fused or not.
    - mlp: other linear weights, a pretrained pooler and expert matrices among them.
    - conv, recurrent: weights of convolutions and of RNN, LSTM and GRU layers.
    - bias: biases of all these. norm: weights and biases of normalizations, wherever they stand.
    - head: weights and biases of the linear maps at the output; a model that is one linear layer is all head.
    - lora_A, lora_B, lora_magnitude: adapters, also on embeddings and heads; DoRA's magnitudes.
    - other: the rest, such as scales and bare parameters.

    Args:
        model: any module, wrapped (DDP, torch.compile, FSDP2, PEFT) or not.

    Returns:
        Names as ``model.named_parameters()`` gives them, each with one of `ROLES`.

    Raises:
        InputTypeError: the model is no ``nn.Module``.
        InputError: a parameter has no shape yet (lazy modules).

    Example:
        >>> from torch import nn
        >>> role_of(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        {'0.weight': 'mlp', '0.bias': 'bias', '2.weight': 'head', '2.bias': 'head'}
    """
    sites = sites_of(model)
    anatomy = anatomy_of(sites[0].root) if sites else None
    return {site.name: site_role(site, anatomy) for site in sites if anatomy is not None}


def anatomy_of(root: Node) -> Anatomy:
    """Find attention, blocks and head of a model, once for all its parameters."""
    core = core_of(root)
    attention = attention_nodes(core)
    blocks = block_nodes(core, attention)
    first = min((block.order for block in blocks), default=float("inf"))
    outside = [node for node in core.walk() if node.order < first]
    embeds = any(node.kind in (Kind.EMBEDDING, Kind.CONV) for node in outside)
    return Anatomy(attention, blocks, head_nodes(core, blocks, attention), first, embeds)


def site_role(site: Site, anatomy: Anatomy) -> str:
    """Give the role of one parameter, which is that of its first place unless it is tied to an embedding."""
    roles = [_role(slot, anatomy) for slot in site.slots]
    return "embedding" if "embedding" in roles else roles[0]


def names_bias(attribute: str) -> bool:
    """Say whether an attribute's name is a bias's: ``bias``, ``in_proj_bias``, ``bias_ih_l0``."""
    return _BIAS.search(attribute.lower()) is not None


def _role(slot: Slot, anatomy: Anatomy) -> str:
    node, kind = slot.node, slot.node.kind
    if slot.adapter is not None:
        return slot.adapter
    if kind is Kind.NORM:
        return "norm"
    if kind is Kind.EMBEDDING:
        return "embedding"
    if any(above in anatomy.heads for above in node.chain()):
        return "head"
    if kind is Kind.OTHER:
        return _bare_role(slot, anatomy)
    if names_bias(slot.attribute):
        return "bias"
    if kind is Kind.CONV:
        return _conv_role(slot, anatomy)
    if kind is Kind.RECURRENT:
        return "recurrent"
    if within_attention(slot, anatomy.attention):
        return "attention"
    return "embedding" if _projects_input(slot, anatomy) else "mlp"


def _conv_role(slot: Slot, anatomy: Anatomy) -> str:
    module = slot.node.module
    if is_pointwise(module) and within_attention(slot, anatomy.attention):
        return "attention"
    if anatomy.attention:
        # Patches do not overlap: the kernel steps by its own size.
        apart = getattr(module, "kernel_size", None) == getattr(module, "stride", ()) and not is_pointwise(module)
        if apart and slot.node.order < anatomy.first_block:
            return "embedding"
        if any(names_embedding(above.module) for above in slot.node.chain()):
            return "embedding"
    return "conv"


def _projects_input(slot: Slot, anatomy: Anatomy) -> bool:
    before = slot.node.order < anatomy.first_block < float("inf")
    return before and bool(anatomy.attention) and not anatomy.embeds


def _bare_role(slot: Slot, anatomy: Anatomy) -> str:
    """Give the role of a parameter that stands in no layer of a known type."""
    parameter, name = slot.parameter, slot.attribute.lower()
    in_block = any(above in anatomy.blocks for above in slot.node.chain())
    if not in_block and parameter.ndim == 3 and parameter.shape[0] == 1 and anatomy.attention:
        # (1, positions, width): added to, or put before, every sequence of the batch.
        return "embedding"
    if names_embedding(slot.node.module) or _EMBEDDING.search(name) or _TOKEN.search(name):
        return "embedding"
    if names_bias(name):
        return "bias"
    if not is_vector(parameter):
        if within_attention(slot, anatomy.attention):
            return "attention"
        if in_block and _FEED_FORWARD.search(type(slot.node.module).__name__):
            return "mlp"
    return "other"
