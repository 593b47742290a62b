"""The models that influence is measured on, and what the scripts here share."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import minilm
from benchmarks.data import require
from benchmarks.influence.emotions import emotions
from benchmarks.machine import describe
from benchmarks.workloads.digits_vit import DigitsVit
from benchmarks.workloads.minilm_tasks import MiniLmFull, SentenceClassifier, _cola, _sst2
from benchmarks.workloads.shakespeare_gpt import ShakespeareGpt
from hidlr import settle_head
from hidlr.workloads.base import Batch, Workload

__all__ = ["FOLDER", "MiniLm", "arguments", "closures", "settle", "spearman", "task", "tune", "write"]

FOLDER = Path(__file__).parent.parent / "results" / "influence"


class MiniLm(MiniLmFull):
    """MiniLM with all its layers and its whole vocabulary, on short sentences.

    Args:
        corpus: "sst2", "cola" or "emotions".
        layers: how many of the six to keep, from the first.
        data: folder of the data sets; None is HIDLR_DATA.
    """

    def __init__(self, corpus: str = "sst2", layers: int = minilm.LAYERS, data: Path | None = None) -> None:
        if corpus == "emotions":
            self._data = emotions(data)
        else:
            name, read = {"sst2": ("SST-2", _sst2), "cola": ("CoLA", _cola)}[corpus]
            self._data = read(require(data, f"glue/{name}.train.tsv"), require(data, f"glue/{name}.dev.tsv"))
        self._layers = layers

    def build(self, seed: int) -> nn.Module:
        """Pretrained embeddings and layers, and a fresh head."""
        model = minilm.encoder()
        model.encoder.layer = model.encoder.layer[: self._layers]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return SentenceClassifier(model.encoder, model.embeddings)


def task(name: str) -> Workload:
    """A workload by name: digits-vit, shakespeare-gpt, minilm-sst2, minilm-cola, minilm-emotions, minilm-2-sst2."""
    match name.split("-"):
        case ["digits", "vit"]:
            return DigitsVit()
        case ["shakespeare", "gpt"]:
            return ShakespeareGpt()
        case ["minilm", corpus]:
            return MiniLm(corpus)
        case ["minilm", layers, corpus]:
            return MiniLm(corpus, int(layers))
    raise ValueError(f"no task {name!r}")


def settle(workload: Workload, model: nn.Module, seed: int) -> None:
    """Let the new head of a pretrained model learn for 40 steps; a model that is new altogether is left alone."""
    if isinstance(workload, MiniLm):
        settle_head(model, closures(workload, model, 300 + seed, 40))


def closures(workload: Workload, model: nn.Module, seed: int, count: int) -> list[Callable[[], Tensor]]:
    """The loss of each of a seed's first batches."""

    def loss_of(batch: Batch) -> Callable[[], Tensor]:
        return lambda: workload.loss(model, batch)

    return [loss_of(workload.batch(step, seed)) for step in range(count)]


def tune(
    workload: Workload,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    seed: int,
    first: int,
    last: int,
    steps: int,
    warmup: float = 0.06,
) -> None:
    """Train from one step to another: a linear warm-up, then a linear decay over the whole of the run."""
    peaks = [group.setdefault("peak", group["lr"]) for group in optimizer.param_groups]
    rising = max(1, round(warmup * steps))
    for step in range(first, last):
        factor = (step + 1) / rising if step < rising else (steps - step) / (steps - rising)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        optimizer.zero_grad()
        workload.loss(model, workload.batch(step, seed)).backward()
        optimizer.step()
    optimizer.zero_grad()


def arguments(doc: str | None, *, minutes: bool = False) -> argparse.Namespace:
    """The options that all scripts have; one thread."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets (default: HIDLR_DATA)")
    if minutes:
        parser.add_argument("--minutes", type=float, default=float("inf"), help="when to stop (default: at the end)")
    args = parser.parse_args()
    if args.data:
        os.environ["HIDLR_DATA"] = str(args.data)
    torch.set_num_threads(1)
    return args


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Rank correlation, ties at their mean rank."""
    ranks = [_ranks(torch.tensor(values, dtype=torch.float64)) for values in (a, b)]
    x, y = (rank - rank.mean() for rank in ranks)
    return float((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt())


def write(name: str, result: Mapping[str, Any]) -> None:
    """Write a result with the command that made it and the machine it ran on."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.influence.{name} --data DIR"  # no path of a machine in a result
    data = {"command": command, "machine": describe(), **result}
    (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _ranks(values: Tensor) -> Tensor:
    below = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return below.double() + (equal.double() - 1) / 2
