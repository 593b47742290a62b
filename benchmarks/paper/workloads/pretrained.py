"""Weights that an experiment starts from, trained once and kept in the cache folder."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.data import cache_folder
from benchmarks.optimizers import build
from hidlr.training.control import UniformRate
from hidlr.workloads.base import Workload

__all__ = ["pretrained", "train"]


def pretrained(name: str, recipe: str, model: nn.Module, teach: Callable[[nn.Module], None]) -> nn.Module:
    """The model with trained weights, from the cache where a model was trained by this recipe before.

    Args:
        name: of the file, for people.
        recipe: everything that the weights depend on, in words.
        model: freshly initialised.
        teach: trains it.
    """
    key = hashlib.sha256(f"{recipe} {torch.__version__}".encode()).hexdigest()[:12]
    path = cache_folder() / f"paper-{name}-{key}.pt"
    if not path.exists():
        teach(model)
        # Two processes may train it at once: only a whole file gets the name.
        scratch = path.with_suffix(f".{os.getpid()}.pt")
        torch.save(model.state_dict(), scratch)
        Path(scratch).replace(path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def train(workload: Workload, model: nn.Module, *, rate: float, steps: int, seed: int) -> None:
    """AdamW with one rate, warmed up over a tenth, then falling linearly to zero."""
    model.train()
    groups = [{"params": list(model.parameters()), "name": "all"}]
    optimizer = build("adamw", groups, rate, 0.01, model)
    control = UniformRate(optimizer, rate=rate, schedule="linear", steps=steps, warmup=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        loss = workload.loss(model, workload.batch(step, seed))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        control.step(lambda: loss)  # noqa: B023
    optimizer.zero_grad()
