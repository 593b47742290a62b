"""CIFAR-10 at half its resolution, a fixed part of the training images: a residual network, a vision transformer."""

import io
import os
from abc import abstractmethod
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import cache_folder, require
from benchmarks.workloads.classification import classification_scores
from benchmarks.workloads.colour_models import ColourVit, SmallResNet
from hidlr.workloads.base import Batch, Defaults, Workload
from hidlr.workloads.data import Split, training_batch

__all__ = ["Cifar10Resnet", "Cifar10Vit"]

_FILE = "cifar10/cifar10_train_jpeg.npz"
_TRAIN, _VALIDATION = 8000, 4000
# Which images are used, and in which split, belongs to the data set, not to a run.
_SUBSET_SEED = 0
_VERSION = 1


class _Cifar10(Workload):
    """Which of ten classes: cross-entropy and accuracy.

    8,000 images of 16x16 pixels train (125 batches of 64 an epoch), mirrored at random; 4,000 others of the
    training split validate. Accuracies are not comparable with published ones.
    """

    metric_name = "val_accuracy"
    test_name = "val_accuracy"
    higher_is_better = True
    optimizers: tuple[str, ...]
    batch_size = 64

    def __init__(self, data: Path | None = None) -> None:
        self._train, self._validation = _cifar10(require(data, _FILE))

    def build(self, seed: int) -> nn.Module:
        """A fresh network."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._network()

    @abstractmethod
    def _network(self) -> nn.Module: ...

    def batch(self, step: int, seed: int) -> Batch:
        """64 images, about half of them mirrored, and their labels."""
        images, labels = training_batch(self._train, self.batch_size, step, seed)
        # A prime far above any number of steps keeps the streams of different seeds apart.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored, images.flip(3), images), labels

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        images, labels = batch
        return functional.cross_entropy(model(images), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on the validation images, batch norm with its running statistics."""
        return classification_scores(model, self._validation, "val")


class Cifar10Resnet(_Cifar10):
    """A residual network with batch norm on 16x16 CIFAR-10 images."""

    name = "cifar10-resnet"
    description = "CIFAR-10 at 16x16, a residual network (14 layers, 44,000 parameters) with batch norm"
    # No decay: the base optimizers' table gives it to optimizers with decoupled decay alone.
    defaults = Defaults(optimizer="momentum", steps=300, groups="role")
    optimizers = ("momentum", "adamw")

    def _network(self) -> nn.Module:
        # Depth 14 and half of the usual width: what 300 steps in a few seconds of one core allow.
        return SmallResNet(width=8, blocks=2)


class Cifar10Vit(_Cifar10):
    """A vision transformer on 16x16 CIFAR-10 images."""

    name = "cifar10-vit"
    description = "CIFAR-10 at 16x16, a vision transformer of 105,000 parameters"
    defaults = Defaults(optimizer="adamw", steps=400, groups="role", weight_decay=0.01)
    optimizers = ("adamw", "muon")

    def _network(self) -> nn.Module:
        return ColourVit(image=16, patch=4, width=64, depth=3, heads=4)


@cache
def _cifar10(path: Path) -> tuple[Split, Split]:
    pixels, labels = _decoded(path)
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float() / 255
    train = images[:_TRAIN]
    images = (images - train.mean((0, 2, 3), keepdim=True)) / train.std((0, 2, 3), keepdim=True)
    targets = torch.tensor(labels, dtype=torch.int64)
    return Split(images[:_TRAIN], targets[:_TRAIN]), Split(images[_TRAIN:], targets[_TRAIN:])


def _decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The subset's images, (n, 16, 16, 3) bytes, and labels; decoded once, then read from the cache folder."""
    count = _TRAIN + _VALIDATION
    cached = cache_folder() / f"cifar10-16px-{count}-v{_VERSION}-{path.stat().st_size}.npz"
    if not cached.exists():
        with np.load(path) as archive:
            rows = np.random.RandomState(_SUBSET_SEED).permutation(len(archive["labels"]))[:count]
            content, offsets = archive["jpeg"].tobytes(), archive["offsets"]
            pixels = np.stack([_halved(content[offsets[row] : offsets[row + 1]]) for row in rows])
            labels = archive["labels"][rows]
        # Two processes may decode at once: only a complete file gets the name.
        scratch = cached.with_suffix(f".{os.getpid()}.npz")
        np.savez(scratch, pixels=pixels, labels=labels)
        scratch.replace(cached)
    with np.load(cached) as archive:
        return archive["pixels"], archive["labels"]


def _halved(jpeg: bytes) -> np.ndarray:
    """The image's means over squares of 2x2 pixels."""
    image: Any = import_module("PIL.Image").open(io.BytesIO(jpeg)).convert("RGB")
    return np.asarray(image.reduce(2))
