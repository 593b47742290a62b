"""Data sets that ship inside scikit-learn, split once for all, in batches that depend on the step alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from hidlr.errors import MissingExtraError
from hidlr.workloads.base import Batch

__all__ = ["Split", "Splits", "load_sklearn", "split", "training_batch"]

# Splits belong to the data set, not to a run: with a seed of their own, runs of all seeds share a test set.
_SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Inputs and targets of one part of a data set, rows aligned."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set in three disjoint parts: to train on, to choose by, to report."""

    train: Split
    validation: Split
    test: Split


def load_sklearn(name: str) -> Any:
    """Call `sklearn.datasets.load_<name>()`.

    Raises:
        MissingExtraError: scikit-learn is absent.
    """
    try:
        datasets = import_module("sklearn.datasets")
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "workloads") from error
    load: Callable[[], Any] = getattr(datasets, f"load_{name}")
    return load()


def split(inputs: Tensor, targets: Tensor, *, held_out: int) -> Splits:
    """Shuffle with a fixed seed; half of the `held_out` last rows validate, the rest of them test."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    start = len(order) - held_out
    middle = start + math.ceil(held_out / 2)
    train, validation, test = (
        Split(inputs[rows], targets[rows]) for rows in (order[:start], order[start:middle], order[middle:])
    )
    return Splits(train, validation, test)


def training_batch(data: Split, size: int, step: int, seed: int) -> Batch:
    """Batch number `step`: epochs reshuffle by (seed, epoch), and drop what does not fill a batch."""
    epoch, index = divmod(step, len(data) // size)
    rows = _order(len(data), epoch, seed)[index * size : (index + 1) * size]
    return data.inputs[rows], data.targets[rows]


@lru_cache(maxsize=2)
def _order(length: int, epoch: int, seed: int) -> Tensor:
    # A prime far above any number of epochs keeps the streams of different seeds apart.
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(length, generator=generator)
