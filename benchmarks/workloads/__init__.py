"""The benchmark's training problems by name; each is imported, and its data read, when asked for."""

import difflib
from importlib import import_module
from pathlib import Path

from benchmarks.data import MissingDataError
from hidlr.errors import InputError
from hidlr.workloads.base import Workload

__all__ = ["MissingDataError", "get", "names"]

# Module and class; some need scikit-learn, transformers or a data folder.
_WORKLOADS = {
    "digits-vit": ("digits_vit", "DigitsVit"),
    "shakespeare-gpt": ("shakespeare_gpt", "ShakespeareGpt"),
    "cifar10-resnet": ("cifar10", "Cifar10Resnet"),
    "cifar10-vit": ("cifar10", "Cifar10Vit"),
    "housing-nam": ("nam", "HousingNam"),
    "synthetic-nam": ("nam", "SyntheticNam"),
    "goemotions-multitask": ("goemotions", "GoEmotions"),
    "sst2-lora": ("minilm_tasks", "Sst2Lora"),
    "cola-lora": ("minilm_tasks", "ColaLora"),
    "minilm-full": ("minilm_tasks", "MiniLmFull"),
    "cancer-logistic": ("regressions", "CancerLogistic"),
    "wine-softmax": ("regressions", "WineSoftmax"),
    "digits-softmax": ("regressions", "DigitsSoftmax"),
    "diabetes-linear": ("regressions", "DiabetesLinear"),
    "rosenbrock": ("functions", "Rosenbrock"),
    "beale": ("functions", "Beale"),
    "ellipse": ("functions", "Ellipse"),
}


def names() -> tuple[str, ...]:
    """Names of all workloads."""
    return tuple(_WORKLOADS)


def get(name: str, data: Path | None = None) -> Workload:
    """The workload of that name.

    Args:
        name: one of `names()`.
        data: the data folder (None: HIDLR_DATA's, where the workload needs one).

    Raises:
        InputError: there is none of that name; the message suggests the nearest.
        MissingDataError: its data is absent and cannot be fetched.
    """
    if name not in _WORKLOADS:
        near = difflib.get_close_matches(name, _WORKLOADS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown workload {name!r}: {hint}There are {', '.join(_WORKLOADS)}.")
    module, cls = _WORKLOADS[name]
    workload: Workload = getattr(import_module(f"benchmarks.workloads.{module}"), cls)(data)
    return workload
