"""Workloads of milliseconds, and a pool without processes."""

import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from benchmarks.data import MissingDataError
from benchmarks.pool import Done
from benchmarks.run import Finder, Result, RunConfig, execute
from torch import Tensor, nn
from torch.nn import functional

from hidlr.errors import HidlrError
from hidlr.workloads.base import Batch, Defaults, Workload

__all__ = ["InlinePool", "Line", "config", "find", "result_of"]


def by_name(name: str, parameter: nn.Parameter) -> str:
    del parameter
    return name


class Line(Workload):
    """y = 2 x + 1, with noise that the batch draws."""

    name = "line"
    description = "a line"
    metric_name = "val_loss"
    test_name = "val_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="sgd", steps=40, groups="apart")
    groupings = MappingProxyType({"apart": by_name})

    def build(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(1, 1)

    def batch(self, step: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(1000 * seed + step)
        x = torch.randn(16, 1, generator=generator)
        return x, 2 * x + 1 + 0.1 * torch.randn(16, 1, generator=generator)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        x, y = batch
        return functional.mse_loss(model(x), y)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        weight, bias = (parameter.item() for parameter in model.parameters())
        return {"val_loss": (weight - 2) ** 2 + (bias - 1) ** 2}


class Deadly(Line):
    """Ends its process, as a lack of memory would."""

    name = "deadly"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        del model, batch
        os._exit(7)


def find(name: str, data: Path | None) -> Workload:
    """The registry of these tests."""
    if name == "absent":
        raise MissingDataError(f"absent.csv is not in {data}: put it there")
    return {"line": Line, "deadly": Deadly}[name]()


def config(
    seed: int = 0, rate: float = 0.1, *, workload: str = "line", method: str = "uniform", **rest: Any
) -> RunConfig:
    return RunConfig(workload, "sgd", method, seed, rate, **rest)


def result_of(
    config: RunConfig, metric: float | None, rates: Sequence[str] = ("weight", "bias"), **rest: Any
) -> Result:
    """A result as `execute` gives it, as far as searches look at it."""
    return {
        "config": config.to_dict(),
        "status": "diverged" if metric is None else "ok",
        "metric": metric,
        "metrics": {},
        "rates": dict.fromkeys(rates, config.rate),
        "seconds": 1.0,
        **rest,
    }


class InlinePool:
    """Does runs one by one when waited for; keeps a log of them."""

    def __init__(self, processes: int = 2, find: Finder = find) -> None:
        self.processes = processes
        self.running: list[RunConfig] = []
        self.log: list[RunConfig] = []
        self.busy: list[int] = []
        self._find = find

    @property
    def idle(self) -> int:
        return self.processes - len(self.running)

    def loaded(self) -> list[str]:
        return []

    def start(self, config: RunConfig) -> None:
        assert self.idle > 0
        self.running.append(config)

    def wait(self, timeout: float) -> list[Done]:
        del timeout
        self.busy.append(len(self.running))
        config = self.running.pop(0)
        self.log.append(config)
        try:
            return [Done(config, execute(config, None, find=self._find), "", 0.1)]
        except HidlrError as error:
            return [Done(config, None, str(error), 0.1)]
