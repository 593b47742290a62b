"""CIFAR-10 in one file per split: JPEG images end to end, rows grouped by class."""

import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["pack_cifar10"]


def pack_cifar10(split: str, path: Path) -> None:
    """Write a split of CIFAR-10, from the `datasets` library, as the arrays that the loaders read.

    Arrays: `jpeg` (bytes of all images end to end), `offsets` (n + 1), `labels`, `ids` (place within the class),
    `classes` (names). Images are re-encoded at Pillow's default quality, as in the file that the committed
    results were made with; encoders differ, so figures agree with those in kind and not to the digit.

    Raises:
        ImportError: `datasets` or Pillow is absent.
    """
    rows: Any = import_module("datasets").load_dataset("uoft-cs/cifar10", split=split)
    targets = np.asarray(rows["label"], dtype=np.uint8)
    order = np.argsort(targets, kind="stable")
    images = [_jpeg(rows[int(row)]["img"]) for row in order]
    labels = targets[order]
    counts = np.bincount(labels)
    np.savez(
        path,
        jpeg=np.frombuffer(b"".join(images), dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, images)], dtype=np.int64),
        labels=labels,
        ids=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        classes=np.asarray(rows.features["label"].names),
    )


def _jpeg(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="JPEG")
    return buffer.getvalue()
