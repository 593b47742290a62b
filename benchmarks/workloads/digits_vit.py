"""Handwritten digits (1,797 images of 8x8 pixels, UCI by way of scikit-learn) and a small transformer."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads.classification import classification_scores
from hidlr.workloads.base import Batch, Defaults, Workload
from hidlr.workloads.data import Split, load_sklearn, split, training_batch
from hidlr.workloads.vit import VisionTransformer

__all__ = ["DigitsVit"]


class DigitsVit(Workload):
    """The package's own digits with more of them held out, so that one image is 0.15% of the accuracy.

    1,152 images train (18 batches of 64 an epoch), 645 validate; there is no third split to report.
    """

    name = "digits-vit"
    description = "8x8 handwritten digits, a vision transformer of 136,000 parameters"
    metric_name = "val_accuracy"
    test_name = "val_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=315, groups="role", weight_decay=0.01)
    optimizers: tuple[str, ...] = ("adamw", "momentum", "sgd", "lion")
    batch_size = 64

    def __init__(self, data: Path | None = None) -> None:
        del data  # scikit-learn brings it
        self._train, self._validation = _digits()

    def build(self, seed: int) -> nn.Module:
        """A transformer on 16 patches of 2x2: width 64, 4 blocks, 4 heads."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return VisionTransformer()

    def batch(self, step: int, seed: int) -> Batch:
        """64 images and their labels."""
        return training_batch(self._train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on the validation split."""
        return classification_scores(model, self._validation, "val")


@cache
def _digits() -> tuple[Split, Split]:
    bunch = load_sklearn("digits")
    images = torch.tensor(bunch.images, dtype=torch.float32) / 16 - 0.5
    parts = split(images, torch.tensor(bunch.target, dtype=torch.int64), held_out=645)
    # Both held-out halves validate: the verdict needs one split that is as large as can be.
    validation = Split(
        torch.cat([parts.validation.inputs, parts.test.inputs]),
        torch.cat([parts.validation.targets, parts.test.targets]),
    )
    return parts.train, validation
