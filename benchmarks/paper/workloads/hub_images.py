"""The paper's own: an ImageNet ViT from the hub (or a folder) on CIFAR-10, CIFAR-100, SVHN, GTSRB and Food-101."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.paper.workloads.hub import model_of, on_device, placed, rows_of
from benchmarks.paper.workloads.transfer import norms
from hidlr.workloads.base import Batch, Defaults, Grouping, Workload, evaluating

__all__ = ["SETS", "HubImages"]

_EVALUATED = 4000


@dataclass(frozen=True)
class Source:
    """Where a data set is, and what its columns are called.

    Attributes:
        name: on the hub.
        config: of the data set; "" for none.
        image: the column of images.
        label: the column of labels.
        test: the split that reports.
    """

    name: str
    config: str = ""
    image: str = "image"
    label: str = "label"
    test: str = "test"


SETS: Mapping[str, Source] = MappingProxyType(
    {
        "cifar10": Source("uoft-cs/cifar10", "plain_text", image="img"),
        "cifar100": Source("uoft-cs/cifar100", "cifar100", image="img", label="fine_label"),
        "svhn": Source("ufldl-stanford/svhn", "cropped_digits"),
        "gtsrb": Source("tanganke/gtsrb"),
        "food101": Source("ethz/food101", "default", test="validation"),
    }
)
"""The paper's five."""


class HubImages(Workload):
    """Cross-entropy and accuracy of a ViT with a new head; the last twentieth of the training rows chooses.

    Args:
        part: one of `SETS`.
        data: unused: the hub's own cache is.
        model: name on the hub, or folder (default: the environment's HIDLR_VIT_MODEL, else
            google/vit-base-patch16-224).
        corpus: folder in place of the hub's data (default: the environment's HIDLR_IMAGES).
    """

    name = "real-images"
    description = "an ImageNet ViT of the hub on other images"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=2000, groups="role", weight_decay=0.01)
    groupings: Mapping[str, Grouping] = MappingProxyType({"norm": norms})
    batch_size = 64

    def __init__(self, part: str, data: Path | None = None, *, model: str | Path = "", corpus: str | Path = "") -> None:
        del data
        self._source = SETS[part]
        self._model = str(model or os.environ.get("HIDLR_VIT_MODEL", "google/vit-base-patch16-224"))
        folder = corpus or os.environ.get("HIDLR_IMAGES", "")
        where = Path(folder) / part if folder else self._source.name
        rows = rows_of(where, self._source.config, "train")
        cut = len(rows) - max(1, len(rows) // 20)
        self._train, self._validation = rows[:cut], rows[cut:][:_EVALUATED]
        self._test = rows_of(where, self._source.config, self._source.test)[:_EVALUATED]
        self._classes = 1 + max(int(row[self._source.label]) for row in rows)

    def build(self, seed: int) -> nn.Module:
        """The pretrained model with a fresh head."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            options = {"num_labels": self._classes, "ignore_mismatched_sizes": True}
            return on_device(model_of("AutoModelForImageClassification", self._model, **options))

    def batch(self, step: int, seed: int) -> Batch:
        """Images and labels of 64 rows, drawn with replacement."""
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(self._train), (self.batch_size,), generator=draw).tolist()
        return self._encoded([self._train[row] for row in rows])

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        images, labels = placed(batch, model)
        return functional.cross_entropy(model(pixel_values=images).logits, labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on at most 4,000 rows of either split."""
        found: dict[str, float] = {}
        with evaluating(model), torch.no_grad():
            for part, rows in (("val", self._validation), ("test", self._test)):
                scores, labels = [], []
                for at in range(0, len(rows), 64):
                    images, own = placed(self._encoded(rows[at : at + 64]), model)
                    scores.append(model(pixel_values=images).logits.cpu())
                    labels.append(own.cpu())
                said, right = torch.cat(scores), torch.cat(labels)
                found[f"{part}_loss"] = functional.cross_entropy(said, right).item()
                found[f"{part}_accuracy"] = (said.argmax(1) == right).double().mean().item()
        return found

    def _encoded(self, rows: Sequence[Mapping[str, Any]]) -> Batch:
        side = _side(self._model)
        images = np.stack([_pixels(row[self._source.image], side) for row in rows])
        labels = torch.tensor([int(row[self._source.label]) for row in rows])
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels


def _pixels(image: Any, side: int) -> np.ndarray:
    """A picture (PIL's, or a file's path) as (side, side, 3), from -1 to 1 as ViT was trained."""
    pillow: Any = import_module("PIL.Image")
    picture = pillow.open(image) if isinstance(image, str) else image
    return np.asarray(picture.convert("RGB").resize((side, side)), dtype=np.float32) / 127.5 - 1


@cache
def _side(model: str) -> int:
    """Pixels that a model's images have, by its config."""
    return int(model_of("AutoConfig", model).image_size)
