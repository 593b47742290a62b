"""Fine-tuning a real pretrained transformer (MiniLM) on GLUE's short sentences: LoRA and full.

What makes a run a matter of seconds on one core: sentences of at most 16 tokens, batches of like lengths, and only
part of the six layers at work. LoRA sits in the upper three, so that the lower three's output, which no parameter
of the run changes, is computed once; full fine-tuning keeps the lower three alone. There is no dropout.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import minilm
from benchmarks.data import require
from benchmarks.minilm import Ragged
from hidlr.errors import MissingExtraError
from hidlr.workloads.base import Batch, Defaults, Workload, device_of, evaluating

__all__ = ["ColaLora", "MiniLmFull", "Sst2Lora"]

_FROZEN = 3  # lower layers that LoRA leaves alone, and that full fine-tuning keeps
_SHORTEST, _LONGEST, _LONGEST_TEST = 5, 16, 20
_BATCHES_SORTED = 8  # batches whose rows are sorted by length together


@dataclass(frozen=True, eq=False)
class Sentences:
    """Rows of one part of a data set: token ids (or what frozen layers make of them) and labels."""

    inputs: Ragged
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Parts:
    """A data set in three disjoint parts."""

    train: Sentences
    validation: Sentences
    test: Sentences

    def through(self, change: Callable[[Ragged], Ragged]) -> "Parts":
        """The same rows with other inputs."""
        parts = (self.train, self.validation, self.test)
        return Parts(*(Sentences(change(part.inputs), part.labels) for part in parts))


class SentenceClassifier(nn.Module):
    """Transformer layers, the mean over tokens, which MiniLM was pretrained to use, and a fresh linear head.

    Args:
        encoder: transformers' `BertEncoder`.
        embeddings: transformers' `BertEmbeddings`; None where the inputs are frozen layers' output.
    """

    def __init__(self, encoder: nn.Module, embeddings: nn.Module | None = None) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.encoder = encoder
        self.classifier = nn.Linear(minilm.WIDTH, 2)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Scores of both classes, (rows, 2), of ids (rows, tokens) or activations (rows, tokens, width)."""
        real, bias = minilm.attention_bias(lengths, inputs.shape[1])
        hidden = inputs if self.embeddings is None else self.embeddings(input_ids=inputs)
        hidden = self.encoder(hidden, attention_mask=bias).last_hidden_state
        mean = (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)
        scores: Tensor = self.classifier(mean)
        return scores


class SentenceTask(Workload):
    """Cross-entropy on two classes, in batches of 16 sentences of like lengths.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
    """

    higher_is_better = True
    optimizers: tuple[str, ...] = ("adamw",)
    batch_size = 16
    _data: Parts

    def batch(self, step: int, seed: int) -> Batch:
        """Inputs, lengths and labels of 16 sentences; epochs reshuffle, and drop what does not fill eight batches."""
        data, size = self._data.train, self.batch_size
        chunk = size * _BATCHES_SORTED
        batches = len(data) // chunk * _BATCHES_SORTED
        epoch, index = divmod(step, batches)
        # A prime far above any number of epochs keeps the streams of different seeds apart.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(data), generator=generator).numpy()
        block, part = divmod(int(torch.randperm(batches, generator=generator)[index]), _BATCHES_SORTED)
        rows = order[block * chunk : (block + 1) * chunk]
        rows = rows[np.argsort(data.inputs.lengths[rows], kind="stable")][part * size : (part + 1) * size]
        return *data.inputs.padded(rows), data.labels[torch.from_numpy(rows)]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy (nats)."""
        inputs, lengths, labels = batch
        return functional.cross_entropy(model(inputs, lengths), labels)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss, accuracy and Matthews correlation on the validation and the test split."""
        with evaluating(model):
            return {**_scores("val", model, self._data.validation), **_scores("test", model, self._data.test)}


class LoraTask(SentenceTask):
    """LoRA of rank 8 on queries and values of the upper three layers, and a fresh head: three groups."""

    def __init__(self, tokens: Parts) -> None:
        self._data = tokens.through(lambda ids: minilm.activations(ids, _FROZEN))

    def build(self, seed: int) -> nn.Module:
        """Pretrained layers 4 to 6, frozen, with fresh adapters (alpha 16) and a fresh head."""
        peft = _peft()
        encoder = minilm.encoder().encoder.requires_grad_(False)
        encoder.layer = encoder.layer[_FROZEN:]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"])
            return SentenceClassifier(peft.inject_adapter_in_model(config, encoder))


class Sst2Lora(LoraTask):
    """Sentiment: accuracy on 1,200 held-out phrases; the test split is GLUE's dev sentences of up to 20 tokens."""

    name = "sst2-lora"
    description = "SST-2's short phrases, LoRA in MiniLM's upper three layers"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    defaults = Defaults(optimizer="adamw", steps=160, groups="lora", weight_decay=0.01)

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(_sst2(require(data, "glue/SST-2.train.tsv"), require(data, "glue/SST-2.dev.tsv")))


class ColaLora(LoraTask):
    """Acceptability, chosen by the loss, as so short a run hardly leaves the constant answer.

    MiniLM was tuned for what sentences mean, and knows little of whether they are well-formed: expect a loss near the
    entropy of the classes' shares and a Matthews correlation of 0. It shows what a method does where little can be won.
    """

    name = "cola-lora"
    description = "CoLA's short sentences, LoRA in MiniLM's upper three layers"
    metric_name = "val_loss"
    test_name = "test_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="adamw", steps=160, groups="lora", weight_decay=0.01)

    def __init__(self, data: Path | None = None) -> None:
        super().__init__(_cola(require(data, "glue/CoLA.train.tsv"), require(data, "glue/CoLA.dev.tsv")))


class MiniLmFull(SentenceTask):
    """Sentiment with every parameter of MiniLM's embeddings and lower three layers.

    The embedding keeps the tokens that occur: the others' rows get no gradient.
    """

    name = "minilm-full"
    description = "SST-2's short phrases, MiniLM's lower three layers fine-tuned in full"
    metric_name = "val_accuracy"
    test_name = "test_accuracy"
    defaults = Defaults(optimizer="adamw", steps=120, groups="role", weight_decay=0.01)

    def __init__(self, data: Path | None = None) -> None:
        tokens = _sst2(require(data, "glue/SST-2.train.tsv"), require(data, "glue/SST-2.dev.tsv"))
        parts = (tokens.train, tokens.validation, tokens.test)
        # The padding token, 0, stays the first.
        self._vocabulary = np.unique(np.concatenate([[0], *(part.inputs.values for part in parts)]))
        self._data = tokens.through(lambda ids: Ragged(np.searchsorted(self._vocabulary, ids.values), ids.ends))

    def build(self, seed: int) -> nn.Module:
        """Pretrained embeddings and layers 1 to 3, and a fresh head."""
        model = minilm.encoder()
        model.encoder.layer = model.encoder.layer[:_FROZEN]
        words = model.embeddings.word_embeddings.weight.detach()[torch.from_numpy(self._vocabulary)]
        model.embeddings.word_embeddings = nn.Embedding(len(words), minilm.WIDTH, padding_idx=0, _weight=words)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SentenceClassifier(model.encoder, model.embeddings)


@torch.no_grad()
def _scores(prefix: str, model: nn.Module, data: Sentences) -> dict[str, float]:
    device = device_of(model)
    found, expected = [], []
    for rows in data.inputs.chunks():
        inputs, lengths = data.inputs.padded(rows)
        found.append(model(inputs.to(device), lengths.to(device)).cpu())
        expected.append(data.labels[torch.from_numpy(rows)])
    scores, labels = torch.cat(found), torch.cat(expected)
    said = scores.argmax(1)
    return {
        f"{prefix}_loss": functional.cross_entropy(scores, labels).item(),
        f"{prefix}_accuracy": (said == labels).double().mean().item(),
        f"{prefix}_mcc": matthews(said, labels),
    }


def matthews(said: Tensor, labels: Tensor) -> float:
    """Matthews correlation of two binary vectors; 0 where either is constant, as scikit-learn has it."""
    a, b = (vector.double() - vector.double().mean() for vector in (said, labels))
    scale = (a.square().sum() * b.square().sum()).sqrt().item()
    return (a * b).sum().item() / scale if scale else 0.0


@cache
def _sst2(train: Path, dev: Path) -> Parts:
    # The training rows are phrases cut from sentences: none may contain, or lie in, one that validates.
    texts, labels, tokens = _short(_shuffled(train)[:20_000], _LONGEST)
    held_out = [f" {text} " for text in texts[:1200]]
    everything = "\n".join(held_out)
    apart = [
        row
        for row, text in enumerate(texts[1200:8000], 1200)
        if (padded := f" {text} ") not in everything and not any(phrase in padded for phrase in held_out)
    ]
    _, test_labels, test = _short(_shuffled(dev), _LONGEST_TEST)
    return Parts(
        _pick(tokens, labels, apart[:4096]),
        _pick(tokens, labels, range(1200)),
        Sentences(test, torch.tensor(test_labels)),
    )


@cache
def _cola(train: Path, dev: Path) -> Parts:
    _, labels, tokens = _short(_shuffled(train), _LONGEST)
    _, test_labels, test = _short(_shuffled(dev), _LONGEST)
    return Parts(
        _pick(tokens, labels, range(800, len(labels))),
        _pick(tokens, labels, range(800)),
        Sentences(test, torch.tensor(test_labels)),
    )


def _shuffled(path: Path) -> list[tuple[str, int]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        # A phrase that occurs twice must not both train and validate.
        unique = {row["sentence"].strip(): int(row["label"]) for row in rows}
    pairs = list(unique.items())
    # A seed of the data set's own: runs of all seeds share the splits.
    return [pairs[row] for row in torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()]


def _short(pairs: list[tuple[str, int]], longest: int) -> tuple[list[str], list[int], Ragged]:
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    tokens = minilm.tokenise(texts)
    rows = np.flatnonzero((tokens.lengths >= _SHORTEST) & (tokens.lengths <= longest))
    return [texts[row] for row in rows], [labels[row] for row in rows], tokens.take(rows)


def _pick(tokens: Ragged, labels: list[int], rows: range | list[int]) -> Sentences:
    return Sentences(tokens.take(np.array(rows)), torch.tensor([labels[row] for row in rows]))


def _peft() -> Any:
    try:
        return import_module("peft")
    except ImportError as error:
        raise MissingExtraError("peft", "peft") from error
