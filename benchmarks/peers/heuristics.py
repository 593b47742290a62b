"""Ratios between groups by rule of thumb, for use at a tuned uniform rate."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from torch import nn

from hidlr.errors import InputError
from hidlr.groups import param_groups

__all__ = ["HEURISTICS", "Heuristic", "Multipliers"]

Multipliers = tuple[tuple[str, float], ...]
_BLOCK = re.compile(r"^(?:(?P<tower>.+)\.)?layer_(?P<index>\d+)$")
_ENTRIES = ("embedding", "stem")


@dataclass(frozen=True)
class Heuristic:
    """A published rule for the rates of groups relative to each other.

    Attributes:
        name: what results call it.
        grouping: the scheme of `hidlr.param_groups` whose groups it speaks of.
        source: where it comes from.
        rule: from group names, in the model's order, to a factor for each; None where it says nothing.
    """

    name: str
    grouping: str
    source: str
    rule: Callable[[Sequence[str]], Multipliers | None] = field(repr=False)

    def multipliers(self, group_names: Sequence[str]) -> Multipliers | None:
        """The factor of each group on the uniform rate; None where the rule does not apply.

        Args:
            group_names: names of `hidlr.param_groups(model, by=grouping)`, in its order.
        """
        return self.rule(group_names)

    def on(self, model: nn.Module) -> Multipliers | None:
        """The same for a model; None also where the model has no such groups at all."""
        try:
            groups = param_groups(model, by=self.grouping)
        except InputError:
            return None
        return self.multipliers([group["name"] for group in groups])


def _decay(factor: float) -> Callable[[Sequence[str]], Multipliers | None]:
    """Each layer's rate is ``factor`` times that of the one above it; the head's is the uniform one.

    As BEiT counts: head and last norm 1, the last block ``factor``, what stands before the first block
    one power more than it. Towers are counted each from its own top.
    """

    def rule(group_names: Sequence[str]) -> Multipliers | None:
        blocks: dict[str, int] = {}
        for name in group_names:
            if match := _BLOCK.match(name):
                tower = match["tower"] or ""
                blocks[tower] = max(blocks.get(tower, 0), int(match["index"]) + 1)
        if not blocks or len(group_names) < 2:
            return None
        return tuple((name, factor ** _distance(name, blocks)) for name in group_names)

    return rule


def _distance(name: str, blocks: dict[str, int]) -> int:
    """Layers between a group and the model's output."""
    if match := _BLOCK.match(name):
        return blocks[match["tower"] or ""] - int(match["index"])
    tower, _, part = name.rpartition(".")
    if part in _ENTRIES:
        return blocks.get(tower, max(blocks.values())) + 1
    return 0


def _times(group: str, factor: float, beside: str = "") -> Callable[[Sequence[str]], Multipliers | None]:
    """One group at a multiple of the others' rate; ``beside`` names one that must be there too."""

    def rule(group_names: Sequence[str]) -> Multipliers | None:
        if group not in group_names or len(group_names) < 2 or (beside and beside not in group_names):
            return None
        return tuple((name, factor if name == group else 1.0) for name in group_names)

    return rule


_BEIT = "layer-wise decay, as in ELECTRA (arXiv 2003.10555) and BEiT (arXiv 2106.08254)"
_DEEPLAB = "a new head on a trained backbone, as in DeepLab (arXiv 1606.00915)"
_CAFFE = "convention of Caffe's models (lr_mult)"
_ROWS = (
    Heuristic("layer_decay_0.65", "layer", _BEIT, _decay(0.65)),
    Heuristic("layer_decay_0.8", "layer", _BEIT, _decay(0.8)),
    Heuristic("layer_decay_0.95", "layer", _BEIT, _decay(0.95)),
    Heuristic("ulmfit", "layer", "discriminative fine-tuning, 2.6 a layer (arXiv 1801.06146)", _decay(1 / 2.6)),
    Heuristic("lora_plus", "lora", "LoRA+, B at 16 times A (arXiv 2402.12354)", _times("lora_B", 16.0, "lora_A")),
    Heuristic("bias_x2", "bias", _CAFFE, _times("bias", 2.0)),
    Heuristic("bias_x10", "bias", f"{_CAFFE}, further", _times("bias", 10.0)),
    Heuristic(
        "head_x10", "head", "a new head on a trained backbone, as in DeepLab (arXiv 1606.00915)", _times("head", 10.0)
    ),
)

HEURISTICS: MappingProxyType[str, Heuristic] = MappingProxyType({row.name: row for row in _ROWS})
"""Every rule by name."""
