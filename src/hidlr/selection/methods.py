"""Which known method a selection comes close to."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["resemblance"]

_CLOSE = 0.6  # of the tensors trained by either, those trained by both

_FULL = "full fine-tuning"
_METHODS: dict[str, Callable[[str, str], bool]] = {
    "BitFit": lambda role, name: role != "head" and name.rpartition(".")[2] in ("bias", "in_proj_bias"),
    "LayerNorm tuning": lambda role, name: role == "norm",
    "LoRA": lambda role, name: role in ("lora_A", "lora_B", "lora_magnitude"),
    "LoRA with A frozen (LoRA-FA)": lambda role, name: role == "lora_B",
    "tuning the embeddings": lambda role, name: role == "embedding",
    "tuning attention alone": lambda role, name: role == "attention",
    "tuning the MLPs alone": lambda role, name: role == "mlp",
    _FULL: lambda role, name: role != "head",
}
"""Whether a method trains a parameter of a role and a name; all of them train a head besides."""


def resemblance(selection: "Selection") -> str:
    """A sentence on the known method whose trained tensors overlap most; "" where none is close.

    The head is left out of the comparison, as every method trains one.
    """
    roles = {
        name: (selection.role_of(group, name), group.kept) for group in selection.groups for name in group.parameters
    }
    if not roles or not all(role for role, _ in roles.values()):
        return ""
    head = any(kept for role, kept in roles.values() if role == "head")
    also = ", and the head" if head else ""
    body = {name for name, (role, kept) in roles.items() if kept and role != "head"}
    if not body:
        return "Resembles tuning the head alone (a linear probe)." if head else ""
    best, overlap = "", 0.0
    for method, trains in _METHODS.items():
        if method == _FULL and selection.share < _CLOSE:
            continue  # most tensors, but small ones
        own = {name for name, (role, _) in roles.items() if role != "head" and trains(role, name)}
        share = len(own & body) / len(own | body)
        if share > overlap:
            best, overlap = method, share
    if overlap < _CLOSE:
        return f"Resembles no known method: its nearest, {best}, shares {100 * overlap:.0f}% of the tensors{also}."
    return f"Resembles {best} ({100 * overlap:.0f}% of the tensors in common){also}."
