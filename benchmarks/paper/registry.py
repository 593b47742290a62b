"""Every experiment: a new one joins by adding a row."""

import difflib
from importlib import import_module
from types import MappingProxyType

from benchmarks.paper.experiment import FULL, QUICK, REAL, Experiment
from hidlr.errors import InputError

__all__ = ["NAMES", "TIERS", "get"]

TIERS = MappingProxyType({tier.name: tier for tier in (QUICK, FULL, REAL)})
"""By name."""

# Module and class, in the order of the index: first the paper's own.
_EXPERIMENTS = {
    "functions": ("functions", "Functions"),
    "fig1": ("fig1", "Figure1"),
    "table1": ("table1", "Table1"),
    "lora": ("lora", "Lora"),
    "nam": ("nam", "Nam"),
    "multitask": ("multitask", "Multitask"),
    "e2e": ("e2e", "E2e"),
    "influence": ("influence", "InfluenceMaps"),
    "training": ("training", "Training"),
    "diagonal": ("diagonal", "Diagonal"),
    "xi": ("xi", "Xi"),
    "phi": ("phi", "Phi"),
    "grouping": ("grouping", "Grouping"),
    "ratios": ("ratios", "Ratios"),
    "batch": ("batch", "Batch"),
    "lora-ratio": ("lora_ratio", "LoraRatio"),
    "cost": ("cost", "Cost"),
}

NAMES = tuple(_EXPERIMENTS)
"""Names of all experiments."""


def get(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        InputError: there is none; the message suggests the nearest.
    """
    if name not in _EXPERIMENTS:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown experiment {name!r}: {hint}There are {', '.join(NAMES)}, and all.")
    module, cls = _EXPERIMENTS[name]
    found: Experiment = getattr(import_module(f"benchmarks.paper.{module}"), cls)()
    return found
