"""Tables as token ids."""

from typing import Any

import torch
from torch import Tensor

from hidlr.finetuning.config import FinetuneConfig
from hidlr.finetuning.table import Table

__all__ = ["Examples", "encode", "first_batches"]


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    """Token ids and the number of the label, one example at a time."""

    def __init__(self, tokens: dict[str, list[list[int]]], labels: list[int]) -> None:
        self._tokens = tokens
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: rows[index] for name, rows in self._tokens.items()}, "labels": self._labels[index]}


def encode(config: FinetuneConfig, tokenizer: Any, table: Table, labels: list[int]) -> Examples:
    """A table through the tokenizer; what is longer than `max_length`, or than the model takes, is cut."""
    columns = [list(column) for column in zip(*table.texts, strict=True)]
    longest = min(config.max_length, tokenizer.model_max_length)
    found = tokenizer(*columns, truncation=True, max_length=longest)
    return Examples({name: found[name] for name in tokenizer.model_input_names if name in found}, labels)


def first_batches(config: FinetuneConfig, data: Examples, collate: Any, count: int) -> list[dict[str, Tensor]]:
    """Batches in a random order of the seed's, for a measurement before the training."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(config.seed)).tolist()
    size = config.batch_size
    starts = range(0, min(len(data), count * size), size)
    return [dict(collate([data[row] for row in order[start : start + size]])) for start in starts]
