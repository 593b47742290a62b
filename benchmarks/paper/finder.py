"""The experiments' workloads by name: their own and the benchmark's, at the length and batch that the name says."""

import re
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks import workloads
from hidlr.errors import InputError
from hidlr.workloads.base import Workload

__all__ = ["find", "kind", "names"]

# A pattern of names, the module, and the class or function that takes the pattern's groups and the data folder.
_OWN = (
    (r"vit-(?P<part>unseen|all|digits|animals|scratch)", "transfer", "VitTransfer"),
    (r"glue-(?P<task>cola|sst2)-(?P<method>lora|lora_fa|bitfit|prompt|full)", "glue", "glue"),
    (r"shapes-(?P<name>synthetic|housing)", "shapes", "shapes"),
    (r"partition-(?P<name>[\w-]+)", "partitions", "partitioned"),
    (r"e2e-(?P<size>small|large)-(?P<method>full|bitfit|norm|head|adaptive|text)", "e2e", "E2eGpt"),
    (r"real-glue-(?P<task>\w+)-(?P<method>lora|lora_fa|bitfit|prompt|full)", "hub_glue", "HubGlue"),
    (r"real-e2e-(?P<method>lora|full)", "hub_e2e", "HubE2e"),
    (r"real-images-(?P<part>cifar10|cifar100|svhn|gtsrb|food101)", "hub_images", "HubImages"),
    (r"real-celeba", "celeba", "CelebA"),
)
# "digits-vit@60" takes 60 steps, "digits-vit@60x16" in batches of 16.
_SIZES = re.compile(r"(?P<name>.+?)@(?P<steps>\d+)(?:x(?P<batch>\d+))?")


def find(name: str, data: Path | None = None) -> Workload:
    """The workload of a name.

    Args:
        name: of a workload of `benchmarks.workloads` or of `benchmarks.paper.workloads`; "@60" behind it sets the
            length of a run (steps), "@60x16" the size of a batch (rows) as well.
        data: the data folder.

    Raises:
        InputError: there is none of that name.
        MissingDataError: its data is absent and cannot be fetched.

    Example:
        >>> find("rosenbrock@60").defaults.steps
        60
    """
    sized = _SIZES.fullmatch(name)
    workload = _plain(sized["name"] if sized else name, data)
    if sized:
        workload.defaults = replace(workload.defaults, steps=int(sized["steps"]))
        if sized["batch"]:
            if not hasattr(workload, "batch_size"):
                raise InputError(f"{sized['name']!r} has no batches: leave x{sized['batch']} out of its name")
            workload.batch_size = int(sized["batch"])
    return workload


def kind(name: str) -> type[Workload]:
    """The class of a workload of `benchmarks.workloads`, without reading its data.

    Raises:
        InputError: there is none of that name.
    """
    if name not in workloads.names():
        raise InputError(f"unknown workload {name!r}: there are {', '.join(workloads.names())}.")
    return workloads.class_of(name)


def names() -> tuple[str, ...]:
    """Patterns of the experiments' own workloads."""
    return tuple(pattern for pattern, _, _ in _OWN)


def _plain(name: str, data: Path | None) -> Workload:
    for pattern, module, maker in _OWN:
        if match := re.fullmatch(pattern, name):
            make = getattr(import_module(f"benchmarks.paper.workloads.{module}"), maker)
            found: Workload = partial(make, **match.groupdict())(data=data)
            return found
    return workloads.get(name, data)
