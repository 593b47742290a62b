"""Restaurant descriptions from lists of facts (E2E) by word-level GPTs of two sizes, pretrained by us on the texts.

The substitute for the paper's GPT-2: pretraining sees the texts of half of the training rows and no facts; fine-tuning
sees facts and texts of the other half. BLEU is sacrebleu's, over all references of a list of facts.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from benchmarks.paper.workloads.pretrained import pretrained, train
from benchmarks.workloads.gpt import CharacterGpt
from hidlr import Selection, measure_influence, select
from hidlr.errors import MissingExtraError
from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating

__all__ = ["E2eGpt", "Pairs", "bleu", "decode", "numbered", "read_pairs"]

_SIZES: Mapping[str, dict[str, int]] = MappingProxyType(
    {"small": {"width": 64, "depth": 2, "heads": 4}, "large": {"width": 128, "depth": 4, "heads": 4}}
)
_CONTEXT = 96
_PRETRAINING = 400
_BUDGET = 0.05  # of the parameters, for adaptive fine-tuning
_WRITTEN = 40  # words of a text, at most
_SCORED = 60  # lists of facts that are written out and scored
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


class E2eGpt(Workload):
    """What follows in a text, given the facts: cross-entropy (nats per word), and BLEU of what is written.

    Args:
        size: "small" or "large".
        method: what is trained: "full", "head", "norm", "bitfit", "adaptive" (the 5% of parameters with the highest
            influence, measured on the small model and transferred by name) or "text" (pretraining).
        data: the data folder.
    """

    name = "e2e"
    description = "E2E: texts from facts, a word-level GPT pretrained on texts"
    metric_name = "val_loss"
    test_name = "test_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="adamw", steps=300, groups="role", weight_decay=0.01)
    batch_size = 24

    def __init__(self, size: str, method: str, data: Path | None = None) -> None:
        self._size, self._method = size, method
        self._files = tuple(require(data, f"e2e/{part}.txt") for part in ("train", "valid", "test"))
        self._words, self._train, self._validation, self._test, self._references = _corpus(self._files)
        half = len(self._train) // 2
        self._rows = (0, half) if method == "text" else (half, len(self._train))

    def build(self, seed: int) -> nn.Module:
        """A pretrained GPT of which the method's parameters are trainable; fresh for pretraining."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = CharacterGpt(len(self._words), context=_CONTEXT, **_SIZES[self._size])
            if self._method == "text":
                return model
            pretraining = E2eGpt(self._size, "text", self._files[0].parents[1])
            recipe = f"e2e {_SIZES[self._size]} {len(self._words)} words, {_PRETRAINING} steps at 3e-3, version 1"
            teach = partial(train, pretraining, rate=3e-3, steps=_PRETRAINING, seed=0)
            pretrained(f"gpt-{self._size}", recipe, model, lambda own: teach(own))
            self._freeze(model, seed)
            return model

    def batch(self, step: int, seed: int) -> Batch:
        """Words, what follows each, and which of those count: the text's."""
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        low, high = self._rows
        rows = (low + torch.randint(high - low, (self.batch_size,), generator=draw)).tolist()
        return _padded(self._train, rows, facts=self._method != "text")

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean over the texts' words (nats)."""
        words, following, counts = batch
        losses = functional.cross_entropy(model(words).flatten(0, 1), following.flatten(), reduction="none")
        return (losses * counts.flatten()).sum() / counts.sum()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Losses on 240 validation and test rows; BLEU on 60 lists of facts of the test split, where sacrebleu is."""
        with evaluating(model), torch.no_grad():
            found = {
                f"{part}_loss": _mean_loss(self, model, rows)
                for part, rows in (("val", self._validation), ("test", self._test))
            }
            if self._method != "text":
                facts = list(self._references)[:_SCORED]
                written = [self.wording(words) for words in decode(model, facts)]
                found["test_bleu"] = bleu(written, [self._references[own] for own in facts])
        return found

    def wording(self, words: Sequence[int]) -> str:
        """Numbers to text."""
        return " ".join(self._words[word] for word in words)

    def _freeze(self, model: nn.Module, seed: int) -> None:
        if self._method == "adaptive":
            self._adapt(model, seed)
        elif self._method != "full":
            pattern = {"head": r"^head\.", "norm": r"norm|^head\.", "bitfit": r"bias$|^head\."}[self._method]
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(re.search(pattern, name) is not None)

    def _adapt(self, model: nn.Module, seed: int) -> None:
        selection = _chosen(self._files[0].parents[1], seed)
        (selection if self._size == "small" else selection.transfer(model)).apply(model)


@cache
def _chosen(data: Path, seed: int) -> Selection:
    """Measured on the small model, with this seed's batches."""
    workload = E2eGpt("small", "full", data)
    small = workload.build(seed)
    optimizer = torch.optim.AdamW(small.parameters(), lr=1e-3, weight_decay=0.01)
    closures = [partial(workload.loss, small, workload.batch(step, 500 + seed)) for step in range(8)]
    found = measure_influence(small, closures, optimizer=optimizer, by="tensor", steps=8, probes=4)
    return select(found, budget=_BUDGET)


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
def _corpus(files: tuple[Path, ...]) -> tuple[tuple[str, ...], Pairs, Pairs, Pairs, dict[tuple[int, ...], list[str]]]:
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


def _padded(pairs: Pairs, rows: Sequence[int], *, facts: bool) -> Batch:
    lines = [(*(pairs.facts[row] if facts else (_START,)), *pairs.texts[row])[: _CONTEXT + 1] for row in rows]
    begins = [len(pairs.facts[row]) if facts else 1 for row in rows]
    longest = max(map(len, lines))
    words = torch.full((len(rows), longest), _PAD)
    counts = torch.zeros(len(rows), longest)
    for index, (line, begin) in enumerate(zip(lines, begins, strict=True)):
        words[index, : len(line)] = torch.tensor(line)
        counts[index, begin : len(line)] = 1
    return words[:, :-1], words[:, 1:], counts[:, 1:]


def _mean_loss(workload: Workload, model: nn.Module, pairs: Pairs) -> float:
    spread = torch.linspace(0, len(pairs) - 1, 240).long().tolist()
    total = count = 0.0
    for at in range(0, len(spread), 40):
        batch = tuple(part.to(device_of(model)) for part in _padded(pairs, spread[at : at + 40], facts=True))
        weight = float(batch[2].sum())
        total += workload.loss(model, batch).item() * weight
        count += weight
    return total / count
