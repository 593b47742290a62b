"""Lines over the steps of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from hidlr.reports.axes import bounds, log_ticks, place, plain_ticks, step_ticks, style
from hidlr.reports.text import printable
from hidlr.reports.theme import Size, Theme, drawing
from hidlr.reports.thin import Floats, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "Panel", "is_thinned", "line_figure"]

_FEW = 40
# Points that all background lines of a panel share: more of them add bytes, not sight.
_BACKGROUND = 12_000


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: what a reader sees when pointing at it.
        x: steps, ascending.
        y: values; non-finite ones break the line.
        style: index into the theme's colours (past their end: dashed); None is background.
    """

    name: str
    x: Floats
    y: Floats
    style: int | None


@dataclass(frozen=True)
class Panel:
    """Curves that share axes.

    Attributes:
        label: what y is, with its unit.
        lines: the curves.
        log: whether y is logarithmic; values at or below 0 are then left out.
        zero: whether y starts at 0.
    """

    label: str
    lines: tuple[Line, ...]
    log: bool = False
    zero: bool = False

    def drawn(self) -> "Panel":
        """The panel with only what its axes can show."""
        if not self.log:
            return self
        return replace(self, lines=tuple(_positive(line) for line in self.lines))

    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not any(np.isfinite(line.y).any() for line in self.drawn().lines)


def line_figure(panels: Sequence[Panel], size: Size, theme: Theme, columns: int = 1) -> "Figure":
    """Draw panels over the same steps, row by row.

    Args:
        panels: at least one, none of them empty.
        size: the place on the page.
        theme: colours.
        columns: panels side by side.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing():
        from matplotlib.figure import Figure

        left, right, top, bottom = 4.6 * size.font, 2.2 * size.font, 2.4 * size.font, 3.6 * size.font
        rows, cell = -(-len(panels) // columns), size.width / columns
        figure = Figure(figsize=(size.width / 72, rows * size.height / 72))
        figure.patch.set_visible(False)
        one = replace(size, ticks=max(3, size.ticks // columns))
        span = bounds([line.x for panel in panels for line in panel.drawn().lines]) or (0.0, 1.0)
        for index, panel in enumerate(panels):
            inner = size.height - top - bottom
            row, column = divmod(index, columns)
            width = cell - left - right
            axes = place(figure, column * cell + left, row * size.height + top, width, inner)
            axes.set_label(panel.label)
            style(axes, size, theme)
            _draw(axes, panel.drawn(), size, theme, f"p{index}")
            step_ticks(axes, one, *span)
            axes.text(0, 1, panel.label, va="bottom", fontsize=size.font, color=theme.text).set(
                transform=axes.transAxes, position=(-left / width, 1 + 0.7 * size.font / inner)
            )
            axes.set_xlabel("step", fontsize=size.font, color=theme.muted, loc="right", labelpad=3)
        return figure


def is_thinned(panels: Sequence[Panel], size: Size) -> bool:
    """Whether some curve has more points than are drawn."""
    return any(len(line.x) > 2 * _buckets(panel, line, size) for panel in panels for line in panel.drawn().lines)


def _draw(axes: "Axes", panel: Panel, size: Size, theme: Theme, prefix: str) -> None:
    for index, line in enumerate(sorted(panel.lines, key=lambda line: line.style is not None)):
        x, y = thin(line.x, line.y, _buckets(panel, line, size))
        background = line.style is None
        hue = 0 if line.style is None else line.style % len(theme.series)
        dashed = line.style is not None and line.style >= len(theme.series)
        axes.plot(
            x,
            y,
            color=theme.muted if background else theme.series[hue],
            alpha=0.35 if background else None,
            linewidth=0.9 if background else 1.7,
            linestyle=(0, (4, 2)) if dashed else "-",
            marker="o" if len(x) <= _FEW else None,
            markersize=2 if background else 3.5,
            markeredgewidth=0,
            solid_joinstyle="round",
            label=printable(line.name),
            gid=f"{prefix}-{index:04}",
        )
    limits = bounds([line.y for line in panel.lines]) or (0.0, 1.0)
    if panel.log:
        log_ticks(axes, *limits)
        return
    low, high = (min(0.0, limits[0]), limits[1]) if panel.zero else limits
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    axes.set_ylim(low if panel.zero and low == 0 else low - room, high + room)
    plain_ticks(axes, y=6)


def _buckets(panel: Panel, line: Line, size: Size) -> int:
    if line.style is not None:
        return size.buckets
    background = sum(other.style is None for other in panel.lines)
    return max(20, min(size.buckets, _BACKGROUND // (2 * background) * size.buckets // 300))


def _positive(line: Line) -> Line:
    # Dropped, not broken at: noise around zero would leave single points that no line joins.
    kept = ~(line.y <= 0)
    return replace(line, x=line.x[kept], y=line.y[kept])
