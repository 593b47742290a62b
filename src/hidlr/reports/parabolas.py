"""Measured losses along each group's direction, beside the parabola fitted to them."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hidlr.errors import InputError
from hidlr.reports.axes import bounds, place, plain_ticks, style
from hidlr.reports.curves import Curve
from hidlr.reports.text import number, printable, shorten
from hidlr.reports.theme import PAPER, WIDE, Size, Theme, drawing
from hidlr.reports.thin import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_parabolas", "parabola_figure"]

# A minimum within this many times the measured range is drawn; one farther out is told in words,
# since showing it would squeeze the measurements into a corner.
_REACH = 4.0


def parabola_figure(curves: Sequence[Curve]) -> "Figure":
    """Draw one small plot per group: measured losses over the rate, the parabola, its minimum.

    As Fig. 1 of Xu et al., arXiv 2501.06954. Losses are shown as changes from the loss at rate 0.

    Args:
        curves: at least one.

    Returns:
        A matplotlib figure that belongs to no window: ``figure.savefig("parabolas.png")``.

    Raises:
        InputError: there is no curve.
        MissingExtraError: matplotlib is not installed.
    """
    figure = draw_parabolas(curves, WIDE, PAPER)
    figure.patch.set(visible=True, facecolor=PAPER.surface)
    return figure


def draw_parabolas(curves: Sequence[Curve], size: Size, theme: Theme) -> "Figure":
    """As `parabola_figure`, for a place on a page."""
    if not curves:
        raise InputError("no curves to draw: measure at least one group first")
    with drawing():
        from matplotlib.figure import Figure

        columns = min(size.columns, len(curves))
        rows = -(-len(curves) // columns)
        left, top, bottom, gap = 4.4 * size.font, 4.4 * size.font, 3.8 * size.font, 16.0
        edge = 1.8 * size.font
        cell_width = (size.width - edge) / size.columns
        cell_height = 0.72 * size.height if size.columns > 2 else 0.84 * size.height
        figure = Figure(figsize=((edge + columns * cell_width) / 72, rows * cell_height / 72))
        figure.patch.set_visible(False)
        for index, curve in enumerate(curves):
            row, column = divmod(index, columns)
            x, y = edge + column * cell_width, row * cell_height
            width, height = cell_width - left - gap, cell_height - top - bottom
            axes = place(figure, x + left, y + top, width, height)
            axes.set_label(f"{printable(curve.name)}: change of loss")
            style(axes, size, theme)
            _draw(axes, curve, theme, f"curve{index}")
            plain_ticks(axes, x=3 if size.columns > 2 else 2, y=4)
            characters = int((cell_width - gap) / (0.62 * size.font))
            note = textwrap.shorten(_note(curve), characters + 4, placeholder="...")
            for text, lines, color in (
                (shorten(curve.name, characters), 2.1, theme.text),
                (note, 0.8, theme.muted),
            ):
                at = (-left / width, 1 + lines * size.font / height)
                axes.text(*at, text, transform=axes.transAxes, fontsize=size.font, color=color)
            axes.set_xlabel("rate (lr)", fontsize=size.font, color=theme.muted, labelpad=2)
            if column == 0:
                at = (-(left + 0.4 * edge) / width, 0.5)
                label = axes.text(*at, "change of loss", transform=axes.transAxes, rotation=90)
                label.set(ha="center", va="center", fontsize=size.font, color=theme.muted)
        return figure


def _draw(axes: "Axes", curve: Curve, theme: Theme, name: str) -> None:
    rates: Floats = np.asarray(curve.rates, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        changes: Floats = np.asarray(curve.losses, dtype=np.float64) - curve.base_loss
    known = np.isfinite(rates) & np.isfinite(changes)
    best = curve.best_rate if _shown(curve) else None
    span = bounds([rates[known], np.array([0.0, best or 0.0])]) or (0.0, 0.0)
    room = 0.08 * (span[1] - span[0]) or 1.0
    grid = np.linspace(span[0] - room, span[1] + room, 80)
    parabola = np.array([curve.change(float(rate)) for rate in grid])
    axes.axhline(0, color=theme.muted, linewidth=0.8, linestyle=(0, (2, 2)))
    if np.isfinite(parabola).all():
        axes.plot(grid, parabola, color=theme.series[0], linewidth=1.5, label="parabola", gid=f"{name}-1")
    axes.plot(
        rates[known],
        changes[known],
        linestyle="",
        marker="o",
        markersize=6,
        markeredgewidth=1,
        markeredgecolor=theme.surface,
        color=theme.text,
        label="measured",
        gid=f"{name}-0",
    )
    if best is not None:
        axes.plot(
            [best],
            [curve.change(best)],
            linestyle="",
            marker="D",
            markersize=6.5,
            color=theme.series[1],
            label="minimum",
            gid=f"{name}-2",
        )
    axes.set_xlim(grid[0], grid[-1])
    # The measurements set the height: an unfit parabola may leave the picture.
    heights = bounds([changes[known], np.array([0.0, 0.0 if best is None else curve.change(best)])])
    low, high = heights or (0.0, 0.0)
    margin = 0.12 * (high - low) or 1e-3
    axes.set_ylim(low - margin, high + margin)


def _shown(curve: Curve) -> bool:
    best = curve.best_rate
    if best is None or not math.isfinite(best) or not math.isfinite(curve.change(best)):
        return False
    finite = [abs(rate) for rate in curve.rates if math.isfinite(rate)]
    return not finite or abs(best) <= _REACH * max(finite)


def _note(curve: Curve) -> str:
    if curve.best_rate is None:
        return printable(f"refused: {curve.reason}" if curve.reason else "no minimum")
    return f"min {number(curve.best_rate)}" + ("" if _shown(curve) else " (outside)")
