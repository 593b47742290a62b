"""What comes from Hugging Face's hub by name: for machines with a network, or with its cache filled."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.data import MissingDataError
from hidlr.errors import MissingExtraError
from hidlr.workloads.base import Batch, device_of

__all__ = ["Rows", "model_of", "on_device", "placed", "rows_of", "tokenizer_of"]

Rows = list[dict[str, Any]]


def on_device(model: nn.Module) -> nn.Module:
    """The model on a GPU if there is one: the benchmark's own workloads are for the CPU."""
    return model.to("cuda") if torch.cuda.is_available() else model


def placed(batch: Batch, model: nn.Module) -> Batch:
    """A batch where the model is."""
    return tuple(part.to(device_of(model)) for part in batch)


def model_of(kind: str, source: str | Path, **options: Any) -> Any:
    """A pretrained model.

    Args:
        kind: a class of transformers, such as "AutoModelForSequenceClassification".
        source: its name on the hub, or a folder.
        **options: for `from_pretrained`.

    Raises:
        MissingExtraError: transformers is absent.
        MissingDataError: it is neither in the cache nor to be fetched.
    """
    return _loaded(getattr(_package("transformers", "hf"), kind).from_pretrained, source, **options)


def tokenizer_of(source: str | Path) -> Any:
    """The tokenizer of a model; raises as `model_of`."""
    return _loaded(_package("transformers", "hf").AutoTokenizer.from_pretrained, source)


def rows_of(source: str | Path, config: str, split: str) -> Rows:
    """A split of a data set of the hub, or of a folder with `SPLIT.jsonl` inside, or inside `CONFIG`.

    Raises:
        MissingExtraError: the datasets package is absent.
        MissingDataError: it is neither there nor to be fetched.
    """
    folder = Path(source)
    for path in (folder / config / f"{split}.jsonl", folder / f"{split}.jsonl"):
        if path.exists():
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = _loaded(_package("datasets", "datasets").load_dataset, source, name=config or None, split=split)
    return list(found)


def _loaded(load: Any, source: str | Path, **options: Any) -> Any:
    try:
        return load(str(source), **options)
    except (OSError, ConnectionError, ValueError) as error:
        raise MissingDataError(
            f"{source} is neither in the hub's cache nor to be fetched ({str(error).splitlines()[0]}): run this where "
            "there is a network, or fill the cache (HF_HOME) first; without --real the experiment runs on a substitute."
        ) from error


def _package(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(name, extra) from error
