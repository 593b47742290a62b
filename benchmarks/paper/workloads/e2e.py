"""Restaurant descriptions from lists of facts (E2E) by word-level GPTs of two sizes, pretrained by us on the texts.

The substitute for the paper's GPT-2: pretraining sees the texts of half of the training rows and no facts; fine-tuning
sees facts and texts of the other half. BLEU is sacrebleu's, over all references of a list of facts.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from benchmarks.paper.workloads.e2e_text import CONTEXT, Pairs, bleu, corpus, decode, padded
from benchmarks.paper.workloads.pretrained import pretrained, train
from benchmarks.workloads.gpt import CharacterGpt
from hidlr import Selection, measure_influence, select
from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating

__all__ = ["E2eGpt"]

_SIZES: Mapping[str, dict[str, int]] = MappingProxyType(
    {"small": {"width": 64, "depth": 2, "heads": 4}, "large": {"width": 128, "depth": 4, "heads": 4}}
)
_PRETRAINING = 400
_BUDGET = 0.05  # of the parameters, for adaptive fine-tuning
_SCORED = 60  # lists of facts that are written out and scored


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
        self._words, self._train, self._validation, self._test, self._references = corpus(self._files)
        half = len(self._train) // 2
        self._rows = (0, half) if method == "text" else (half, len(self._train))

    def build(self, seed: int) -> nn.Module:
        """A pretrained GPT of which the method's parameters are trainable; fresh for pretraining."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = CharacterGpt(len(self._words), context=CONTEXT, **_SIZES[self._size])
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
        return padded(self._train, rows, facts=self._method != "text")

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


def _mean_loss(workload: Workload, model: nn.Module, pairs: Pairs) -> float:
    spread = torch.linspace(0, len(pairs) - 1, 240).long().tolist()
    total = count = 0.0
    for at in range(0, len(spread), 40):
        batch = tuple(part.to(device_of(model)) for part in padded(pairs, spread[at : at + 40], facts=True))
        weight = float(batch[2].sum())
        total += workload.loss(model, batch).item() * weight
        count += weight
    return total / count
