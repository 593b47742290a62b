"""A training run seen step by step, by whatever method, and a result for what was seen."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import nn

from benchmarks.control import Trainer, assemble
from benchmarks.run import Result, RunConfig, failed
from hidlr.workloads.base import Workload

__all__ = ["Maker", "Moment", "measured", "walk"]

Maker = Callable[[RunConfig, Workload], tuple[nn.Module, Trainer]]
"""From a config to a model and what trains it."""


@dataclass(frozen=True, eq=False)
class Moment:
    """After a step of training.

    Attributes:
        step: steps done; 0 before the first.
        loss: of the step's batch, before the step; nan before the first.
        model: as it stands; not to be changed.
        trainer: what trains it.
    """

    step: int
    loss: float
    model: nn.Module
    trainer: Trainer


def walk(config: RunConfig, workload: Workload, make: Maker = assemble) -> Iterator[Moment]:
    """The moments of a run, before its first step and after each, until its end or until the loss is not finite.

    Args:
        config: of the run.
        workload: what it trains.
        make: gives the model and what trains it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model, trainer = make(config, workload)
        yield Moment(0, float("nan"), model, trainer)
        for step in range(workload.defaults.steps):
            loss = trainer.step(partial(workload.loss, model, workload.batch(step, config.seed)))
            if not isfinite(loss):
                return
            yield Moment(step + 1, loss, model, trainer)


def measured(config: RunConfig, found: Mapping[str, Any]) -> Result:
    """A result as the benchmark's runs give it, engine and versions included, with other fields put in."""
    return {**failed(config, ""), "status": "ok", **found}
