"""28 emotions of short texts (GoEmotions, arXiv 2005.00547): one trunk on frozen sentence vectors, a head each."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import minilm
from benchmarks.data import require
from hidlr.workloads.base import Batch, Defaults, Grouping, Workload, device_of, evaluating
from hidlr.workloads.data import Split, Splits, training_batch

__all__ = ["EmotionHeads", "GoEmotions", "task"]

_ROWS = {"train": 8000, "dev": 3000, "test": 3000}
_WIDTH = 128


def task(name: str, parameter: nn.Parameter) -> str:
    """The emotion whose head a parameter belongs to, else the trunk."""
    del parameter
    top, *rest = name.split(".")
    return rest[0] if top == "heads" else top


class EmotionHeads(nn.Module):
    """A perceptron that all tasks share, and a linear map to one logit for each of them.

    Args:
        emotions: the tasks' names.
    """

    def __init__(self, emotions: tuple[str, ...]) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(minilm.WIDTH, _WIDTH), nn.GELU(), nn.Linear(_WIDTH, _WIDTH), nn.GELU())
        self.heads = nn.ModuleDict({emotion: nn.Linear(_WIDTH, 1) for emotion in emotions})

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits of shape (rows, emotions) of sentence vectors (rows, 384)."""
        # All heads in one product: 28 small ones would take most of a step.
        heads = [head for head in self.heads.values() if isinstance(head, nn.Linear)]
        weight = torch.cat([head.weight for head in heads])
        bias = torch.cat([head.bias for head in heads])
        return functional.linear(self.trunk(vectors), weight, bias)


class GoEmotions(Workload):
    """Which of 28 emotions does a text express: the sum over tasks of the binary cross-entropy.

    The first 8,000 texts train, 3,000 of the published dev split validate, 3,000 of its test split test.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
    """

    name = "goemotions-multitask"
    description = "28 emotions at once on MiniLM's frozen sentence vectors: a shared trunk and a head each"
    metric_name = "val_map"
    test_name = "test_map"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=300, groups="task", weight_decay=0.01)
    groupings: Mapping[str, Grouping] = MappingProxyType({"task": task})
    optimizers: tuple[str, ...] = ("adamw", "momentum")
    batch_size = 64

    def __init__(self, data: Path | None = None) -> None:
        files = tuple(require(data, f"goemotions/{part}.tsv") for part in _ROWS)
        self._emotions = tuple(require(data, "goemotions/labels.txt").read_text(encoding="utf-8").split())
        self._data = _read(files, len(self._emotions))

    def build(self, seed: int) -> nn.Module:
        """Trunk 384-128-128, 28 heads 128-1."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return EmotionHeads(self._emotions)

    def batch(self, step: int, seed: int) -> Batch:
        """64 sentence vectors and 28 labels of 0 or 1 of each."""
        return training_batch(self._data.train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Binary cross-entropy (nats), summed over tasks and averaged over texts."""
        vectors, labels = batch
        return functional.binary_cross_entropy_with_logits(model(vectors), labels) * labels.shape[1]

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Loss and average precision (mean over the tasks) on the validation and the test split."""
        with evaluating(model):
            return {**_scores("val", model, self._data.validation), **_scores("test", model, self._data.test)}


@torch.no_grad()
def _scores(prefix: str, model: nn.Module, data: Split) -> dict[str, float]:
    logits = model(data.inputs.to(device_of(model))).cpu()
    loss = functional.binary_cross_entropy_with_logits(logits, data.targets) * logits.shape[1]
    return {f"{prefix}_loss": loss.item(), f"{prefix}_map": average_precision(logits, data.targets).mean().item()}


def average_precision(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each column that has a positive row: the mean, over those rows, of the precision at their rank."""
    hits = labels.gather(0, logits.argsort(dim=0, descending=True, stable=True)).double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)[:, None]
    positive = hits.sum(0)
    return ((precision * hits).sum(0) / positive)[positive > 0]


@cache
def _read(files: tuple[Path, ...], emotions: int) -> Splits:
    parts = [_part(path, rows, emotions) for path, rows in zip(files, _ROWS.values(), strict=True)]
    # MiniLM's vectors have entries of about 0.2, too small for the trunk's initialisation.
    deviation, mean = torch.std_mean(parts[0].inputs, 0)
    return Splits(*(Split((part.inputs - mean) / deviation, part.targets) for part in parts))


def _part(path: Path, rows: int, emotions: int) -> Split:
    lines = path.read_text(encoding="utf-8").split("\n")[:rows]
    texts, names = zip(*(line.split("\t")[:2] for line in lines), strict=True)
    labels = torch.zeros(rows, emotions)
    for row, listed in enumerate(names):
        labels[row, [int(number) for number in listed.split(",")]] = 1
    return Split(minilm.pooled(texts), labels)
