"""LoRA and other adapters, told by their structure; neither peft nor transformers is imported."""

import re

from torch import nn
from torch.nn.modules.conv import _ConvNd

# PEFT: lora_A, lora_embedding_A; torchtune: lora_a; kohya and diffusers: lora_down, lora_up.
_PART = re.compile(r"lora_?(?:embedding_?)?(a|b|down|up)(?:_.*)?", re.IGNORECASE)
# PEFT's DoRA; AdaLoRA's diagonal, which scales as DoRA's magnitude does.
_MAGNITUDE = re.compile(r"lora_magnitude_vector|lora_magnitude|lora_e", re.IGNORECASE)
_SHORT = {"a": "lora_A", "down": "lora_A", "b": "lora_B", "up": "lora_B"}


def adapter_part(name: str, owner: nn.Module | None = None) -> str | None:
    """Tell which part of a LoRA adapter a name stands for.

    Args:
        name: one component of a parameter's name.
        owner: the module in which the name stands, if known; in a class called LoRA... that has both,
            plain ``A`` and ``B`` (or ``down`` and ``up``) count too.

    Returns:
        "lora_A", "lora_B" or "lora_magnitude"; None for other names.

    Example:
        >>> adapter_part("lora_embedding_B"), adapter_part("lora_magnitude_vector"), adapter_part("weight")
        ('lora_B', 'lora_magnitude', None)
    """
    if _MAGNITUDE.fullmatch(name):
        return "lora_magnitude"
    match = _PART.fullmatch(name)
    if match is not None:
        return _SHORT[match[1].lower()]
    if owner is None or "lora" not in type(owner).__name__.lower():
        return None
    if name in ("magnitude", "m"):
        return "lora_magnitude"
    beside = {other.lower() for other in (*owner._modules, *owner._parameters)}
    return _SHORT.get(name.lower()) if {"a", "b"} <= beside or {"down", "up"} <= beside else None


def base_child(module: nn.Module) -> nn.Module | None:
    """Give what an adapter wraps: PEFT's model in its wrapper, the linear map in a LoRA layer.

    Args:
        module: any module.

    Returns:
        The wrapped module; None for a module that is no adapter.
    """
    children = module._modules
    if "base_layer" in children:
        return children["base_layer"]
    # transformers models carry ``peft_config`` too and have children called "model": only peft's own
    # classes are wrappers. The type is asked for its module's name, so peft need not be there.
    if any(cls.__module__.partition(".")[0] == "peft" for cls in type(module).__mro__):
        for name in ("base_model", "model"):
            if name in children and hasattr(module, "peft_config"):
                return children[name]
    return _adapted(module)


def _adapted(module: nn.Module) -> nn.Module | None:
    """Give the linear map in a hand-written LoRA layer: the one child that is no part of the adapter."""
    names = [*module._modules, *module._parameters]
    parts = [name for name in names if adapter_part(name, module) is not None]
    rest = [
        child
        for name, child in module._modules.items()
        if child is not None and name not in parts and any(True for _ in child.parameters())
    ]
    if parts and len(rest) == 1 and isinstance(rest[0], (nn.Linear, nn.Embedding, _ConvNd)):
        return rest[0]
    return None
