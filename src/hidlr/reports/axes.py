"""Axes in the report's style: placed in pixels, few ticks, short tick labels."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hidlr.reports.text import number, tick
from hidlr.reports.theme import Size, Theme
from hidlr.reports.thin import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bounds", "log_ticks", "place", "plain_ticks", "step_ticks", "style"]


def place(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Add axes whose plotting area has this place, in CSS pixels from the top left."""
    total_width, total_height = figure.get_size_inches() * 72
    return figure.add_axes(
        (
            left / total_width,
            1 - (top + height) / total_height,
            width / total_width,
            height / total_height,
        )
    )


def style(axes: "Axes", size: Size, theme: Theme) -> None:
    """Two quiet spines, a horizontal grid, muted labels."""
    axes.patch.set_visible(False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(theme.line)
    axes.tick_params(which="both", length=0, pad=6, labelsize=size.font, labelcolor=theme.muted, color=theme.line)
    axes.tick_params(axis="x", length=4)
    axes.grid(axis="y", color=theme.line, linewidth=0.8)
    axes.set_axisbelow(True)


def plain_ticks(axes: "Axes", *, x: int | None = None, y: int | None = None) -> None:
    """At most this many round ticks along linear axes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for axis, bins in ((axes.xaxis, x), (axes.yaxis, y)):
        if bins is not None:
            axis.set_major_locator(MaxNLocator(bins, steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def log_ticks(axes: "Axes", low: float, high: float) -> None:
    """A log y axis around positive data, with ticks even where it spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = math.log10(low), math.log10(high)
    room = max(0.06 * (high - low), 0.1)
    axes.set_yscale("log")
    axes.set_ylim(10.0 ** max(low - room, -300.0), 10.0 ** min(high + room, 300.0))
    span = high - low
    subs = (1.0, 2.0, 5.0) if span < 1.3 else (1.0, 3.0) if span < 2.5 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=6 if len(subs) == 1 else 12))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value) if value < 1000 else number(value, 1)))


def step_ticks(axes: "Axes", size: Size, low: float, high: float) -> None:
    """Whole steps along x."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    room = 0.01 * (high - low) or 0.5
    axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(MaxNLocator(size.ticks, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def bounds(values: Sequence[Floats]) -> tuple[float, float] | None:
    """Lowest and highest finite value; None where there is none."""
    finite = np.concatenate([array[np.isfinite(array)] for array in values]) if values else np.empty(0)
    return (float(finite.min()), float(finite.max())) if len(finite) else None
