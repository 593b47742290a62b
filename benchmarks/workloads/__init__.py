"""The benchmark's training problems by name; each is imported, and its data read, when asked for."""

import difflib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks.data import MissingDataError
from hidlr.errors import InputError
from hidlr.workloads.base import Workload

__all__ = ["SUITES", "MissingDataError", "class_of", "get", "names"]

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

# No target speaks of these: kinds of problems that the benchmark lacks.
_OUTSIDE = {
    "digits-conv": ("outside", "DigitsConv"),
    "digits-batchnorm": ("outside", "DigitsBatchNorm"),
    "digits-gru": ("outside", "DigitsGru"),
    "digits-gru-long": ("outside", "DigitsGruLong"),
    "digits-autoencoder": ("outside", "DigitsAutoencoder"),
    "digits-vae": ("outside", "DigitsVae"),
    "word-pairs": ("outside", "WordPairs"),
    "word-pairs-long": ("outside", "WordPairsLong"),
    "tiny-bert": ("outside", "TinyBert"),
    "sine-full-batch": ("outside", "SineFullBatch"),
    "quadratic-full-batch": ("outside", "QuadraticFullBatch"),
}

_ALL = {**_WORKLOADS, **_OUTSIDE}

SUITES = {"main": tuple(_WORKLOADS), "outside": tuple(_OUTSIDE)}
"""Names of workloads by what they are for: the benchmark, and problems outside it."""


def names() -> tuple[str, ...]:
    """Names of all workloads, of every suite."""
    return tuple(_ALL)


def class_of(name: str) -> type[Workload]:
    """The class of a workload; nothing is constructed, and no data is read.

    Raises:
        KeyError: there is none of that name.
        ImportError: a package that it needs is absent.
    """
    module, cls = _ALL[name]
    found: type[Workload] = getattr(import_module(f"benchmarks.workloads.{module}"), cls)
    return found


def get(name: str, data: Path | None = None) -> Workload:
    """The workload of that name.

    Args:
        name: one of `names()`.
        data: the data folder (None: HIDLR_DATA's, where the workload needs one).

    Raises:
        InputError: there is none of that name; the message suggests the nearest.
        MissingDataError: its data is absent and cannot be fetched.
    """
    if name not in _ALL:
        near = difflib.get_close_matches(name, _ALL, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown workload {name!r}: {hint}There are {', '.join(_ALL)}.")
    cls: Callable[[Path | None], Workload] = class_of(name)  # those of the benchmark take the data folder
    return cls(data)
