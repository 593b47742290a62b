"""Fewer points for a long curve, without hiding its extremes."""

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "running_mean", "thin"]

Floats = npt.NDArray[np.float64]


def thin(x: Floats, y: Floats, buckets: int) -> tuple[Floats, Floats]:
    """Keep the lowest and the highest value of each of `buckets` equal stretches of x, and both ends.

    A stretch without any finite value keeps one nan, so that the line breaks there. Curves of at most
    ``2 * buckets`` points come back whole.

    Args:
        x: ascending.
        y: values; non-finite ones become nan.
        buckets: number of stretches, at least 1.

    Example:
        >>> x = np.arange(100.0)
        >>> thin(x, np.where(x == 50, 9.0, 0.0), 2)[1].max()
        np.float64(9.0)
    """
    finite = np.isfinite(y)
    y = np.where(finite, y, np.nan)
    if len(x) <= 2 * buckets:
        return x, y
    span = x[-1] - x[0]
    place = (x - x[0]) / span if span > 0 else np.arange(len(x)) / len(x)
    bucket = np.minimum((place * buckets).astype(np.int64), buckets - 1)
    seen = np.flatnonzero(finite)
    order = seen[np.lexsort((y[seen], bucket[seen]))]
    present, starts = np.unique(bucket[order], return_index=True)
    ends = np.append(starts[1:], len(order)) - 1
    empty = np.setdiff1d(np.unique(bucket), present)
    breaks = np.searchsorted(bucket, empty)
    outer = seen[[0, -1]] if len(seen) else seen
    kept = np.unique(np.concatenate([order[starts], order[ends[: len(starts)]], breaks, outer]))
    return x[kept], y[kept]


def running_mean(y: Floats, window: int) -> Floats:
    """Mean of the finite values among the `window` around each point; nan where there is none.

    Example:
        >>> running_mean(np.array([1.0, 3.0, np.nan, 5.0]), 3).tolist()
        [2.0, 2.0, 4.0, 5.0]
    """
    finite = np.isfinite(y)
    totals = np.concatenate([[0.0], np.cumsum(np.where(finite, y, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    places = np.arange(len(y))
    low = np.maximum(places - (window - 1) // 2, 0)
    high = np.minimum(places + window // 2 + 1, len(y))
    number = counts[high] - counts[low]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean: Floats = (totals[high] - totals[low]) / number
    return mean
