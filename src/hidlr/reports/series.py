"""Records turned from steps of groups into groups over steps, as arrays."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hidlr.history import StepRecord
from hidlr.reports.thin import Floats

__all__ = ["GroupSeries", "final_rates", "influence_over_time", "series_of", "styles"]

_ALL_COLOURED = 12
_PALETTE = 8


@dataclass(frozen=True)
class GroupSeries:
    """One group over a run.

    Attributes:
        name: the group's name.
        size: number of trainable entries, d_k.
        steps: step of each record that names the group.
        rates: the rate after each, with the schedule's factor divided out (units of ``lr``).
        measured_at: step of each accepted measurement.
        slopes: b_k of each accepted measurement (loss / lr).
        curvatures: A_kk of each accepted measurement (loss / lr^2).
    """

    name: str
    size: int
    steps: Floats
    rates: Floats
    measured_at: Floats
    slopes: Floats
    curvatures: Floats


def series_of(records: Iterable[StepRecord]) -> dict[str, GroupSeries]:
    """The series of each group by name, in the order the groups first appear in."""
    sizes: dict[str, int] = {}
    rates: dict[str, list[tuple[float, float]]] = {}
    measured: dict[str, list[tuple[float, float, float]]] = {}
    for record in records:
        for group in record.groups:
            if group.name not in sizes:
                rates[group.name], measured[group.name] = [], []
            # A frozen group counts no trainable entries.
            sizes[group.name] = max(group.size, sizes.get(group.name, 0))
            rates[group.name].append((record.step, _tuned(group.rate_after, record.factor)))
            if group.accepted and group.slope is not None and group.curvature is not None:
                measured[group.name].append((record.step, group.slope, group.curvature))
    return {
        name: GroupSeries(name, size, *_columns(rates[name], 2), *_columns(measured[name], 3))
        for name, size in sizes.items()
    }


def final_rates(series: Mapping[str, GroupSeries]) -> dict[str, float]:
    """The last finite rate of each group; nan where there is none.

    A schedule that ends at a factor of 0 leaves no rate at its last step, hence the last finite one.
    """
    found = {}
    for name, group in series.items():
        finite = group.rates[np.isfinite(group.rates)]
        found[name] = float(finite[-1]) if len(finite) else math.nan
    return found


def styles(rates: Mapping[str, float]) -> dict[str, int | None]:
    """Which line style each group has in every plot; None draws it in the background.

    Up to 12 groups all have one. Of more, the four highest and four lowest rates have.

    Example:
        >>> styles({"a": 1e-3, "b": 1e-4})
        {'a': 0, 'b': 1}
    """
    if len(rates) <= _ALL_COLOURED:
        return {name: index for index, name in enumerate(rates)}
    ranked = sorted((name for name in rates if rates[name] > 0), key=lambda name: -rates[name])
    ends = ranked[: _PALETTE // 2] + ranked[_PALETTE // 2 :][-(_PALETTE // 2) :]
    return {name: ends.index(name) if name in ends else None for name in rates}


def influence_over_time(group: GroupSeries) -> Floats:
    """Influence per parameter after each accepted measurement: running mean slope squared over mean curvature.

    The curvatures' mean is the geometric one, as in `Influence`. A mean slope that is not positive gives nan, and so
    does a curvature.
    """
    counts = np.arange(1, len(group.slopes) + 1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slopes, curvatures = np.cumsum(group.slopes) / counts, np.exp(np.cumsum(np.log(group.curvatures)) / counts)
        found: Floats = slopes * (slopes / curvatures) / max(group.size, 1)
    found[~((slopes > 0) & (curvatures > 0))] = math.nan
    return found


def _tuned(rate: float, factor: float) -> float:
    return rate / factor if factor > 0 else math.nan


def _columns(rows: Sequence[tuple[float, ...]], width: int) -> list[Floats]:
    table = np.asarray(rows, dtype=np.float64).reshape(-1, width)
    # A resumed run may have gone back a few steps.
    order = np.argsort(table[:, 0], kind="stable")
    return [table[order, column] for column in range(width)]
