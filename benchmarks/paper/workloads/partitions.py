"""Workloads with groupings that mean nothing: the groups of a sensible one, their tensors dealt out at random."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.paper.finder import find
from hidlr import param_groups
from hidlr.workloads.base import Workload

__all__ = ["dealt", "partitioned"]


def dealt(model: nn.Module, by: str, seed: int) -> Callable[[str, nn.Parameter], str]:
    """A grouping with as many groups as a scheme's, each of as many tensors, dealt out at random.

    Args:
        model: whose parameters to deal out.
        by: a scheme of `hidlr.param_groups`.
        seed: of the deal.
    """
    groups = param_groups(model, by)
    names = [name for group in groups for name in group["param_names"]]
    labels = [f"set_{index}" for index, group in enumerate(groups) for _ in group["param_names"]]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    of = {names[place]: label for place, label in zip(order, labels, strict=True)}
    return lambda name, parameter: of[name]


def partitioned(name: str, data: Path | None = None) -> Workload:
    """A workload with the groupings "random-1" to "random-3", dealt out from its roles.

    Args:
        name: its name.
        data: the data folder.
    """
    workload = find(name, data)
    model = workload.build(0)
    deals = {f"random-{seed}": dealt(model, "role", seed) for seed in (1, 2, 3)}
    workload.groupings = {**workload.groupings, **deals}
    return workload
