"""The paper's own: CelebA's 40 attributes at once, ResNet-18, a head and a group for each attribute.

The data folder holds `celeba/` as it is published: `list_attr_celeba.txt`, `list_eval_partition.txt` and
`img_align_celeba/`. ResNet-18 comes from the hub (microsoft/resnet-18) or a folder.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import MissingDataError, data_folder
from benchmarks.paper.workloads.hub import model_of, on_device, placed
from hidlr.workloads.base import Batch, Defaults, Grouping, Workload, device_of, evaluating

__all__ = ["Attributes", "CelebA", "attribute", "read_attributes"]

_SIDE = 112
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as ResNet-18 was trained
_EVALUATED = 4000
_PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Attributes:
    """CelebA's lists.

    Attributes:
        names: of the attributes.
        files: of the images, by part ("train", "val", "test").
        labels: 0 or 1, float32 (images, attributes), in the order of the files.
    """

    names: tuple[str, ...]
    files: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, Tensor]


def read_attributes(folder: Path) -> Attributes:
    """Read the published lists.

    Raises:
        MissingDataError: one is absent.
    """
    lists = [folder / name for name in ("list_attr_celeba.txt", "list_eval_partition.txt")]
    for path in lists:
        if not path.exists():
            raise MissingDataError(f"{path} is absent: put CelebA there as it is published (mmlab.ie.cuhk.edu.hk)")
    _, header, *rows = lists[0].read_text(encoding="utf-8").splitlines()
    part_of = dict(line.split() for line in lists[1].read_text(encoding="utf-8").splitlines() if line)
    files: dict[str, list[str]] = {part: [] for part in _PARTS}
    labels: dict[str, list[list[float]]] = {part: [] for part in _PARTS}
    for row in rows:
        file, *values = row.split()
        part = _PARTS[int(part_of[file])]
        files[part].append(file)
        labels[part].append([float(value == "1") for value in values])
    names = tuple(header.split())
    return Attributes(
        names,
        {part: tuple(own) for part, own in files.items()},
        {part: torch.tensor(own).reshape(-1, len(names)) for part, own in labels.items()},
    )


def attribute(name: str, parameter: nn.Parameter) -> str:
    """The attribute whose head a parameter belongs to, else the trunk."""
    del parameter
    top, *rest = name.split(".")
    return rest[0] if top == "heads" else "trunk"


class _Heads(nn.Module):
    """A trunk, the mean over places, and a linear map to one logit for each attribute."""

    def __init__(self, trunk: Any, width: int, names: Sequence[str]) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(width, 1) for name in names})

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(images).pooler_output.flatten(1)
        return torch.cat([head(features) for head in self.heads.values()], 1)


class CelebA(Workload):
    """Binary cross-entropy, mean over attributes; accuracy, mean over attributes.

    Args:
        data: the data folder.
        model: name on the hub, or folder (default: the environment's HIDLR_CELEBA_MODEL, else microsoft/resnet-18).
    """

    name = "real-celeba"
    description = "40 attributes of faces, ResNet-18"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=5000, groups="task", weight_decay=0.01)
    groupings: Mapping[str, Grouping] = MappingProxyType({"task": attribute})
    batch_size = 128

    def __init__(self, data: Path | None = None, *, model: str | Path = "") -> None:
        folder = data_folder(data)
        if folder is None:
            raise MissingDataError("celeba/ is needed: name a data folder with --data DIR or HIDLR_DATA=DIR.")
        self._folder = folder / "celeba"
        self._lists = read_attributes(self._folder)
        self._model = model or os.environ.get("HIDLR_CELEBA_MODEL", "microsoft/resnet-18")

    def build(self, seed: int) -> nn.Module:
        """ResNet-18 as it was pretrained, and fresh heads."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trunk = model_of("AutoModel", self._model)
            return on_device(_Heads(trunk, int(trunk.config.hidden_sizes[-1]), self._lists.names))

    def batch(self, step: int, seed: int) -> Batch:
        """Images and labels of 128 faces; drawn with replacement."""
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        rows = torch.randint(len(self._lists.files["train"]), (self.batch_size,), generator=draw)
        return self._images("train", rows.tolist()), self._lists.labels["train"][rows]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy (nats), mean over attributes and images."""
        images, labels = placed(batch, model)
        return functional.binary_cross_entropy_with_logits(model(images), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and accuracy on the first 4,000 faces of either split."""
        found: dict[str, float] = {}
        with evaluating(model), torch.no_grad():
            for part in ("val", "test"):
                labels = self._lists.labels[part][:_EVALUATED]
                logits = torch.cat(
                    [
                        model(self._images(part, rows).to(device_of(model))).cpu()
                        for rows in torch.split(torch.arange(len(labels)), 128)
                    ]
                )
                found[f"{part}_loss"] = functional.binary_cross_entropy_with_logits(logits, labels).item()
                found[f"{part}_accuracy"] = ((logits > 0) == (labels > 0.5)).double().mean().item()
        return found

    def _images(self, part: str, rows: Sequence[int] | Tensor) -> Tensor:
        """Squares of 112 pixels around the faces, standardised."""
        pillow: Any = import_module("PIL.Image")
        pictures = []
        for row in rows:
            picture = pillow.open(self._folder / "img_align_celeba" / self._lists.files[part][int(row)]).convert("RGB")
            width, height = picture.size
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            square = picture.crop((left, top, left + side, top + side)).resize((_SIDE, _SIDE))
            pictures.append(np.asarray(square, dtype=np.float32) / 255)
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
        mean, spread = (torch.tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
        return ((images - mean) / spread).contiguous()
