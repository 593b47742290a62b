"""Workloads by name."""

import difflib
from importlib import import_module

from hidlr.errors import InputError
from hidlr.workloads.base import Workload

__all__ = ["get", "names"]

# Module and class; imported when asked for, since the data sets need scikit-learn.
_WORKLOADS = {
    "digits": ("digits", "Digits"),
    "diabetes": ("diabetes", "Diabetes"),
    "rosenbrock": ("functions", "Rosenbrock"),
    "beale": ("functions", "Beale"),
    "ellipse": ("functions", "Ellipse"),
}


def names() -> tuple[str, ...]:
    """Names of all workloads, the default one first."""
    return tuple(_WORKLOADS)


def get(name: str) -> Workload:
    """The workload of that name.

    Raises:
        InputError: there is none; the message suggests the nearest.
        MissingExtraError: its data set needs scikit-learn, which is absent.

    Example:
        >>> get("ellipse").metric_name
        'loss'
    """
    if name not in _WORKLOADS:
        near = difflib.get_close_matches(name, _WORKLOADS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(f"unknown workload {name!r}: {hint}There are {', '.join(_WORKLOADS)}.")
    module, cls = _WORKLOADS[name]
    workload: Workload = getattr(import_module(f"hidlr.workloads.{module}"), cls)()
    return workload
