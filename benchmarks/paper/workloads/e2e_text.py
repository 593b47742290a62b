"""E2E's facts and texts as word numbers: read, pad, write out greedily, score."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hidlr.errors import MissingExtraError
from hidlr.workloads.base import Batch, device_of

__all__ = ["CONTEXT", "Pairs", "bleu", "corpus", "decode", "numbered", "padded", "read_pairs"]

CONTEXT = 96
"""Words in a row, at most."""

_WRITTEN = 40  # words of a text, at most
_PAD, _START, _TEXT, _END, _RARE = range(5)
_SPECIAL = ("<pad>", "<start>", "<text>", "<end>", "<rare>")


@dataclass(frozen=True, eq=False)
class Pairs:
    """Facts and texts as rows of word numbers.

    Attributes:
        facts: from the start token to the text token, a row each.
        texts: from the first word to the end token.
    """

    facts: tuple[tuple[int, ...], ...]
    texts: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.texts)


@torch.no_grad()
def decode(model: nn.Module, facts: Sequence[Sequence[int]], most: int = _WRITTEN) -> list[list[int]]:
    """The likeliest word after the other, until the end token.

    Args:
        model: a causal model over word numbers, (n, length) to (n, length, words).
        facts: beginnings, of any lengths.
        most: words to write at most.
    """
    written: list[list[int]] = [[] for _ in facts]
    device = device_of(model)
    going = list(range(len(facts)))
    for _ in range(most):
        if not going:
            break
        rows = [[*facts[i], *written[i]] for i in going]
        words = torch.full((len(rows), max(map(len, rows))), _PAD, device=device)
        for line, row in enumerate(rows):
            words[line, : len(row)] = torch.tensor(row, device=device)
        scores = model(words)[range(len(rows)), [len(row) - 1 for row in rows]]
        chosen = scores.argmax(1).tolist()
        for i, word in zip(going, chosen, strict=True):
            if word != _END:
                written[i].append(word)
        going = [i for i, word in zip(going, chosen, strict=True) if word != _END]
    return written


def bleu(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """sacrebleu's corpus BLEU, lower-cased, texts being tokenised already.

    Raises:
        MissingExtraError: sacrebleu is absent.
    """
    try:
        sacrebleu: Any = import_module("sacrebleu")
    except ImportError as error:
        raise MissingExtraError("sacrebleu", "bench") from error
    most = max(map(len, references))
    columns = [[own[i] if i < len(own) else None for own in references] for i in range(most)]
    found: float = sacrebleu.corpus_bleu(list(written), columns, lowercase=True, tokenize="none", force=True).score
    return found


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Facts and text of each line, `facts||text`."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(facts.strip(), text.strip()) for facts, _, text in (line.partition("||") for line in lines if line)]


def numbered(pairs: Sequence[tuple[str, str]], numbers: Mapping[str, int]) -> Pairs:
    """Words to numbers, unknown ones to one number for all."""
    facts = tuple((_START, *(numbers.get(word, _RARE) for word in own.split()), _TEXT) for own, _ in pairs)
    texts = tuple((*(numbers.get(word, _RARE) for word in text.split()), _END) for _, text in pairs)
    return Pairs(facts, texts)


@cache
def corpus(files: tuple[Path, ...]) -> tuple[tuple[str, ...], Pairs, Pairs, Pairs, dict[tuple[int, ...], list[str]]]:
    """Words, training, validation and test rows, and the references of each of the test's lists of facts."""
    parts = [read_pairs(path) for path in files]
    counts = Counter(word for facts, text in parts[0] for word in f"{facts} {text}".split())
    words = (*_SPECIAL, *sorted(word for word, count in counts.items() if count > 2))
    numbers = {word: number for number, word in enumerate(words)}
    references: dict[tuple[int, ...], list[str]] = {}
    test = numbered(parts[2], numbers)
    for own, (_, text) in zip(test.facts, parts[2], strict=True):
        references.setdefault(own, []).append(text)
    order = torch.randperm(len(parts[0]), generator=torch.Generator().manual_seed(0)).tolist()
    return words, numbered([parts[0][i] for i in order], numbers), numbered(parts[1], numbers), test, references


def padded(pairs: Pairs, rows: Sequence[int], *, facts: bool) -> Batch:
    """Words, what follows each, and 1 where it is the text's; each of shape (rows, longest - 1).

    Args:
        pairs: a part of the data.
        rows: which of it.
        facts: whether they go before the text; else a start token alone does.
    """
    lines = [(*(pairs.facts[row] if facts else (_START,)), *pairs.texts[row])[: CONTEXT + 1] for row in rows]
    begins = [len(pairs.facts[row]) if facts else 1 for row in rows]
    longest = max(map(len, lines))
    words = torch.full((len(rows), longest), _PAD)
    counts = torch.zeros(len(rows), longest)
    for index, (line, begin) in enumerate(zip(lines, begins, strict=True)):
        words[index, : len(line)] = torch.tensor(line)
        counts[index, begin : len(line)] = 1
    return words[:, :-1], words[:, 1:], counts[:, 1:]
