"""How far several runs rank their groups alike."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

from hidlr.reports.text import plural

__all__ = ["agreement_sentence", "rank_correlation"]

_FEWEST = 3


def agreement_sentence(influences: Sequence[Mapping[str, float]]) -> str:
    """Rank correlations of influence per parameter, over each pair's groups in common; "" where too few are.

    Example:
        >>> agreement_sentence([{"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 10.0, "b": 20.0, "c": 30.0, "d": 1.0}])
        'Ranked by influence per parameter, 3 groups in common: rank correlation 1.00.'
    """
    found: list[float] = []
    sizes: set[int] = set()
    for pair in itertools.combinations(influences, 2):
        names = [
            name for name in pair[0] if name in pair[1] and all(math.isfinite(influence[name]) for influence in pair)
        ]
        one, other = ([influence[name] for name in names] for influence in pair)
        correlation = rank_correlation(one, other) if len(names) >= _FEWEST else math.nan
        if math.isfinite(correlation):
            found.append(correlation)
            sizes.add(len(names))
    if not found:
        return ""
    size = plural(min(sizes), "group") if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)} groups"
    start = f"Ranked by influence per parameter, {size} in common: rank correlation"
    if len(found) == 1:
        return f"{start} {found[0]:.2f}."
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    span = f" {low}" if low == high else f"s from {low} to {high}"
    return f"{start}{span} over {len(found)} pairs of runs."


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; nan where one is all equal.

    Example:
        >>> rank_correlation([1.0, 2.0, 3.0], [9.0, 4.0, 1.0])
        -1.0
    """
    ranks = [_ranks(values) for values in (one, other)]
    if any(len(set(found)) < 2 for found in ranks):
        return math.nan
    return statistics.correlation(*ranks)


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [order.index(value) + (order.count(value) - 1) / 2 for value in values]
