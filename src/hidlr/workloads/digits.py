"""Handwritten digits (1,797 images of 8x8 pixels, UCI by way of scikit-learn) and a small transformer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating
from hidlr.workloads.data import Split, load_sklearn, split, training_batch
from hidlr.workloads.vit import VisionTransformer

__all__ = ["Digits"]


class Digits(Workload):
    """Which digit is it: cross-entropy and accuracy.

    1,347 images train (21 batches of 64 an epoch), 225 validate, 225 test.
    """

    name = "digits"
    description = "8x8 handwritten digits, a vision transformer of 136,000 parameters"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=315, groups="role", weight_decay=0.01)
    batch_size = 64

    def __init__(self) -> None:
        bunch = load_sklearn("digits")
        images = torch.tensor(bunch.images, dtype=torch.float32) / 16 - 0.5
        self._data = split(images, torch.tensor(bunch.target, dtype=torch.int64), held_out=450)

    def build(self, seed: int) -> nn.Module:
        """A transformer on 16 patches of 2x2: width 64, 4 blocks, 4 heads."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return VisionTransformer()

    def batch(self, step: int, seed: int) -> Batch:
        """64 images and their labels."""
        return training_batch(self._data.train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on the validation and the test split."""
        with evaluating(model):
            return {
                **_scores("val", model, self._data.validation),
                **_scores("test", model, self._data.test),
            }


@torch.no_grad()
def _scores(prefix: str, model: nn.Module, data: Split) -> dict[str, float]:
    labels = data.targets.to(device_of(model))
    scores = model(data.inputs.to(labels.device))
    return {
        f"{prefix}_loss": functional.cross_entropy(scores, labels).item(),
        f"{prefix}_accuracy": (scores.argmax(1) == labels).double().mean().item(),
    }
