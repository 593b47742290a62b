"""A vision transformer pretrained by us on five of CIFAR-10's classes, then fine-tuned on something else.

The substitute for the paper's ViT of ImageNet on five data sets, none of which can be had without a network: the same
steps (pretrain, new head, fine-tune everything with AdamW), 16x16 pixels, 100,000 parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from benchmarks.paper.workloads.pretrained import pretrained, train
from benchmarks.workloads.cifar10 import _FILE, _cifar10
from benchmarks.workloads.classification import classification_scores
from benchmarks.workloads.colour_models import ColourVit
from hidlr.workloads.base import Batch, Defaults, Grouping, Workload
from hidlr.workloads.data import Split, Splits, load_sklearn, split, training_batch

__all__ = ["PARTS", "VitTransfer", "norms", "relabelled"]

# Airplane, bird, cat, horse, truck are what pretraining sees; automobile, deer, dog, frog, ship are new.
_KNOWN = (0, 2, 3, 7, 9)
_UNSEEN = (1, 4, 5, 6, 8)
_ANIMALS = (2, 3, 4, 5, 6, 7)
_EVALUATED = 1000
_PRETRAINING = 800


@dataclass(frozen=True)
class Part:
    """A data set to fine-tune on.

    Attributes:
        classes: outputs.
        label: from a CIFAR-10 class to a class of this data set; None leaves the image out.
        pretrained: whether it starts from the pretrained weights.
    """

    classes: int
    label: Callable[[int], int | None]
    pretrained: bool = True


def _among(classes: tuple[int, ...]) -> Callable[[int], int | None]:
    return lambda label: classes.index(label) if label in classes else None


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "known": Part(len(_KNOWN), _among(_KNOWN), pretrained=False),
        "unseen": Part(len(_UNSEEN), _among(_UNSEEN)),
        "all": Part(10, lambda label: label),
        "animals": Part(2, lambda label: int(label in _ANIMALS)),
        "scratch": Part(10, lambda label: label, pretrained=False),
        "digits": Part(10, lambda label: label),
    }
)


def norms(name: str, parameter: nn.Parameter) -> str:
    """Layer norms, weights and biases, against the rest."""
    del parameter
    return "norm" if any(part.startswith("norm") for part in name.split(".")[:-1]) else "rest"


class VitTransfer(Workload):
    """Cross-entropy and accuracy of a ViT with a new head.

    Args:
        part: "unseen" (five classes that pretraining did not see), "all" (ten), "animals" (animals against
            vehicles), "digits" (scikit-learn's, 8x8 grey, enlarged), "scratch" (ten classes, not pretrained) or
            "known" (what pretraining does).
        data: the data folder.
    """

    name = "vit-transfer"
    description = "a vision transformer of 105,000 parameters, pretrained on five classes of CIFAR-10 at 16x16"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=300, groups="role", weight_decay=0.01)
    groupings: Mapping[str, Grouping] = MappingProxyType({"norm": norms})
    batch_size = 64

    def __init__(self, part: str, data: Path | None = None) -> None:
        self._part = PARTS[part]
        self._cifar = require(data, _FILE)
        self._data = _digits() if part == "digits" else relabelled(*_cifar10(self._cifar), self._part.label)

    def build(self, seed: int) -> nn.Module:
        """Pretrained weights, where the part has them, and a fresh head."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _network(self._part.classes)
            if self._part.pretrained:
                body = _pretrained(self._cifar.parents[1])
                kept = {name: value for name, value in body.state_dict().items() if not name.startswith("head.")}
                model.load_state_dict(kept, strict=False)
            return model

    def batch(self, step: int, seed: int) -> Batch:
        """64 images, not mirrored (digits are among them), and their labels."""
        return training_batch(self._data.train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on the validation and the test images."""
        return {
            **classification_scores(model, self._data.validation, "val"),
            **classification_scores(model, self._data.test, "test"),
        }


def relabelled(train_: Split, held_out: Split, label: Callable[[int], int | None]) -> Splits:
    """The images that have a label, with it; 1,000 held-out ones (before that) validate and 1,000 others test."""

    def part(data: Split) -> Split:
        labels = [label(int(one)) for one in data.targets]
        rows = [row for row, own in enumerate(labels) if own is not None]
        return Split(data.inputs[rows], torch.tensor([labels[row] for row in rows]))

    some = Split(held_out.inputs[:_EVALUATED], held_out.targets[:_EVALUATED])
    others = Split(held_out.inputs[-_EVALUATED:], held_out.targets[-_EVALUATED:])
    return Splits(part(train_), part(some), part(others))


def _network(classes: int) -> nn.Module:
    return ColourVit(image=16, patch=4, width=64, depth=3, heads=4, classes=classes)


def _pretrained(data: Path) -> nn.Module:
    workload = VitTransfer("known", data)
    recipe = f"ColourVit 16/4/64/3/4 known {_KNOWN} {_PRETRAINING} steps of 64 at 3e-3, version 1"
    return pretrained(
        "vit", recipe, workload.build(0), lambda model: train(workload, model, rate=3e-3, steps=_PRETRAINING, seed=0)
    )


def _digits() -> Splits:
    bunch = load_sklearn("digits")
    images = torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 8 - 1
    images = functional.interpolate(images, scale_factor=2, mode="nearest").expand(-1, 3, -1, -1).contiguous()
    return split(images, torch.tensor(bunch.target, dtype=torch.int64), held_out=700)
