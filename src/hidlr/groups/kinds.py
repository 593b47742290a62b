"""What a module is, by its torch type first, by its parameters' shapes next, by its class name last."""

import re
from enum import Enum

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

# "LlamaRMSNorm", "LayerNorm2d", "T5LayerNorm"; not "NormalHead" nor "Normalize".
_NORM_CLASS = re.compile(r"[Nn]orm(?:alization)?(?![a-z])|NORM")
_NORM_ATTRIBUTES = frozenset({"weight", "bias", "scale", "gain", "gamma", "beta", "g", "b"})


class Kind(Enum):
    """The kinds of module whose own parameters have a known meaning."""

    LINEAR = "linear"
    CONV = "conv"
    NORM = "norm"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"
    ATTENTION = "attention"
    OTHER = "other"


_TORCH_TYPES: tuple[tuple[Kind, tuple[type[nn.Module], ...]], ...] = (
    (Kind.ATTENTION, (nn.MultiheadAttention,)),
    (Kind.EMBEDDING, (nn.Embedding, nn.EmbeddingBag)),
    # nn.LayerNorm and its kin do not share a base class with the batch norms.
    (Kind.NORM, (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)),
    (Kind.CONV, (_ConvNd,)),
    (Kind.LINEAR, (nn.Linear, nn.Bilinear)),
    (Kind.RECURRENT, (nn.RNNBase, nn.RNNCellBase)),
)


def is_vector(tensor: Tensor) -> bool:
    """Say whether a tensor has at most one dimension larger than 1, as biases and norm weights do."""
    return sum(size != 1 for size in tensor.shape) <= 1


def kind_of(module: nn.Module) -> Kind:
    """Tell the kind of a module from its type, then its own parameters, then its class name.

    Args:
        module: any module; its children are not looked at.

    Returns:
        Its kind; ``Kind.OTHER`` for containers, blocks and whatever is not known.
    """
    for kind, types in _TORCH_TYPES:
        if isinstance(module, types):
            return kind
    own = {name: parameter for name, parameter in module._parameters.items() if parameter is not None}
    if not own or any(any(True for _ in child.parameters()) for child in module.children()):
        return Kind.OTHER
    if _is_norm(module, own):
        return Kind.NORM
    weight = own.get("weight")
    if weight is None or weight.ndim != 2 or not own.keys() <= {"weight", "bias"}:
        return Kind.OTHER
    return Kind.EMBEDDING if names_embedding(module) and "bias" not in own else Kind.LINEAR


def names_embedding(module: nn.Module) -> bool:
    """Say whether the class name speaks of embeddings (``ViTEmbeddings``, ``PatchEmbed``)."""
    return "embed" in type(module).__name__.lower()


def features(module: nn.Module) -> tuple[int, int] | None:
    """Give the input and output width of a linear map.

    Args:
        module: a linear module, or a convolution with kernel size 1 (a linear map at each position).

    Returns:
        ``(in, out)``, or None where the module is no linear map.
    """
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, _ConvNd):
        return (module.in_channels, module.out_channels) if is_pointwise(module) else None
    weight = module._parameters.get("weight")
    if kind_of(module) is not Kind.LINEAR or weight is None or weight.ndim != 2:
        return None
    rows, columns = weight.shape
    bias = module._parameters.get("bias")
    # GPT-2's Conv1D and many hand-written layers hold (in, out), not torch's (out, in): the bias tells.
    if bias is not None and bias.numel() == columns != rows:
        return rows, columns
    if type(module).__name__ == "Conv1D":
        return rows, columns
    return columns, rows


def is_pointwise(module: nn.Module) -> bool:
    """Say whether a module is a convolution with kernel size 1."""
    return isinstance(module, _ConvNd) and all(size == 1 for size in module.kernel_size)


def _is_norm(module: nn.Module, own: dict[str, nn.Parameter]) -> bool:
    if not all(is_vector(parameter) for parameter in own.values()):
        return False
    if own.keys() <= _NORM_ATTRIBUTES and any(
        isinstance(value, float) and "eps" in name for name, value in vars(module).items()
    ):
        return True
    return _NORM_CLASS.search(type(module).__name__) is not None
