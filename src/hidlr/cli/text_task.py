"""A folder of transformers and a TSV of texts as something that can be measured."""

import csv
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hidlr.errors import HidlrError, InputError, MissingExtraError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TextTask", "load_model", "read_tsv"]

_LONGEST = 64  # tokens


@dataclass(frozen=True)
class TextTask:
    """A classifier and batches of labelled texts.

    Attributes:
        model: the classifier, in training mode.
        closures: the loss of each batch.
    """

    model: "nn.Module"
    closures: "list[Callable[[], Tensor]]"

    @classmethod
    def load(
        cls, folder: Path, data: Path, *, text: str, label: str, batches: int, batch_size: int, seed: int
    ) -> "TextTask":
        """Read model, tokenizer and texts.

        Args:
            folder: of ``save_pretrained``; a missing classification head is made anew.
            data: a TSV with a header.
            text: name of its column of texts.
            label: name of its column of labels.
            batches: how many to draw; fewer where the file has fewer rows.
            batch_size: texts in each.
            seed: of the draw, and of a new head.

        Raises:
            MissingExtraError: transformers is not installed.
            HidlrError: the folder or the file cannot be read.
            InputError: a column is missing, or there is only one label.
        """
        import torch

        texts, labels, names = read_tsv(data, text, label)
        transformers = _transformers()
        torch.manual_seed(seed)
        model = load_model(folder, len(names))
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise HidlrError(f"{folder} has no tokenizer ({error}): save one there with save_pretrained.") from error
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
        closures: list[Callable[[], Tensor]] = []
        for rows in itertools.islice(_chunks(order, batch_size), batches):
            inputs = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
            )
            targets = torch.tensor([labels[row] for row in rows])
            closures.append(partial(_loss, model, inputs, targets))
        model.train()
        return cls(model, closures)


def load_model(folder: Path, labels: int | None = None) -> "nn.Module":
    """A sequence classifier from a folder.

    Raises:
        MissingExtraError: transformers is not installed.
        HidlrError: the folder holds no such model.
    """
    transformers = _transformers()
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # a new head is what is wanted here
    transformers.logging.disable_progress_bar()
    options: dict[str, Any] = {} if labels is None else {"num_labels": labels}
    try:
        model: nn.Module = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, **options
        )
    except (OSError, ValueError, KeyError) as error:
        raise HidlrError(f"{folder} holds no model that can be loaded: {error}") from error
    finally:
        transformers.logging.set_verbosity(before)
    return model


def read_tsv(path: Path, text: str, label: str) -> tuple[list[str], list[int], list[str]]:
    """Texts, their labels as numbers, and the labels' names in order.

    Raises:
        HidlrError: the file cannot be read.
        InputError: a column is missing, or there are fewer than two labels.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError) as error:
        raise HidlrError(f"{path} cannot be read: {error}") from error
    columns = list(rows[0]) if rows else []
    for name, option in ((text, "--text"), (label, "--label")):
        if name not in columns:
            raise InputError(f"{path} has no column {name!r} (there are {columns}): name it with {option}.")
    rows = [row for row in rows if row[text] and row[label]]
    names = sorted({row[label] for row in rows})
    if len(names) < 2:
        raise InputError(f"{path}: column {label!r} has {len(names)} different values; a classifier needs two.")
    return [row[text] for row in rows], [names.index(row[label]) for row in rows], names


def _loss(model: "nn.Module", inputs: Any, targets: "Tensor") -> "Tensor":
    loss: Tensor = model(**inputs, labels=targets).loss
    return loss


def _chunks(order: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _transformers() -> Any:
    try:
        return import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error
