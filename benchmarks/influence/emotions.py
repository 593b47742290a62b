"""Whether a short comment expresses a pleasant or an unpleasant emotion: two classes made of GoEmotions' 27."""

import csv
from functools import cache
from pathlib import Path

import torch

from benchmarks.data import require
from benchmarks.workloads.minilm_tasks import Parts, Sentences, _short

__all__ = ["emotions"]

PLEASANT = (
    "admiration", "amusement", "approval", "caring", "desire", "excitement", "gratitude", "joy", "love", "optimism",
    "pride", "relief",
)  # fmt: skip
UNPLEASANT = (
    "anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment", "fear", "grief", "nervousness",
    "remorse", "sadness",
)  # fmt: skip
_LONGEST, _ROWS = 16, {"train": None, "dev": 1200, "test": 1200}


@cache
def emotions(data: Path | None = None) -> Parts:
    """Comments of 5 to 16 tokens all of whose labels are of one class; 1,200 validate, 1,200 test.

    Raises:
        MissingDataError: the files are absent.
    """
    names = require(data, "goemotions/labels.txt").read_text(encoding="utf-8").split()
    classes = [{names.index(name) for name in own} for own in (UNPLEASANT, PLEASANT)]
    return Parts(*(_part(require(data, f"goemotions/{part}.tsv"), classes, rows) for part, rows in _ROWS.items()))


def _part(path: Path, classes: list[set[int]], rows: int | None) -> Sentences:
    pairs = []
    with path.open(encoding="utf-8", newline="") as file:
        for text, labels, _ in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            found = {int(label) for label in labels.split(",")}
            pairs += [(text, label) for label, own in enumerate(classes) if found <= own]
    _, labels, tokens = _short(pairs, _LONGEST)
    kept = slice(0, rows)
    return Sentences(tokens.take(torch.arange(len(labels))[kept].numpy()), torch.tensor(labels[kept]))
