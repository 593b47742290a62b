"""How much of the influence a share of the parameters holds, and where a budget stands."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hidlr.errors import InputError
from hidlr.influence import Influence
from hidlr.reports.axes import place, plain_ticks, style
from hidlr.reports.text import percent, printable
from hidlr.reports.theme import PAPER, WIDE, Size, Theme, drawing
from hidlr.reports.thin import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Shares", "draw_shares", "share_figure", "shares_of"]


@dataclass(frozen=True)
class Shares:
    """Groups by influence per parameter, added up from the highest.

    Attributes:
        names: the groups in that order.
        parameters: share of all parameters held by the groups so far.
        influence: share of all influence held by them, each group measured on its own.
    """

    names: tuple[str, ...]
    parameters: Floats
    influence: Floats

    def within(self, budget: float) -> float:
        """Share of influence of the first groups whose parameters fit a share."""
        fits = self.parameters <= budget * (1 + 1e-9)
        return float(self.influence[fits].max()) if fits.any() else 0.0


def shares_of(influence: Influence) -> Shares | None:
    """Add up; None where nothing was measured.

    Example:
        >>> found = Influence({"a": 3.0, "b": 1.0}, {"a": 3.0, "b": 3.0}, {"a": 2, "b": 6}, {}, {})
        >>> shares_of(found).parameters.tolist(), shares_of(found).influence.tolist()
        ([0.25, 1.0], [0.5, 1.0])
    """
    names = [name for name in influence.ranked if math.isfinite(influence.ppi[name])]
    totals = np.array([influence.total[name] for name in names], dtype=np.float64)
    sizes = np.array([influence.sizes[name] for name in names], dtype=np.float64)
    everything = sum(influence.sizes.values())
    if not len(names) or not totals.sum() > 0 or not everything:
        return None
    return Shares(tuple(names), np.cumsum(sizes) / everything, np.cumsum(totals) / totals.sum())


def share_figure(influences: Mapping[str, Influence], *, budget: float | None = None) -> "Figure":
    """Draw influence against parameters, a line per run.

    Args:
        influences: by the name of the run.
        budget: a share of the parameters to mark.

    Raises:
        InputError: nothing was measured.
        MissingExtraError: matplotlib is not installed.
    """
    lines = {name: shares for name, found in influences.items() if (shares := shares_of(found)) is not None}
    if not lines:
        raise InputError("no group has a usable measurement: nothing can be drawn")
    figure = draw_shares(lines, budget, WIDE, PAPER)
    figure.patch.set(visible=True, facecolor=PAPER.surface)
    return figure


def draw_shares(
    lines: Mapping[str, Shares],
    budget: float | None,
    size: Size,
    theme: Theme,
    styles: Mapping[str, int] | None = None,
) -> "Figure":
    """As `share_figure`, for a place on a page; `styles` are the colours that runs have elsewhere on it."""
    with drawing():
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

        font = size.font
        left, top, bottom = 4.6 * font, 2.4 * font, 3.6 * font
        figure = Figure(figsize=(size.width / 72, size.height / 72))
        figure.patch.set_visible(False)
        axes = place(figure, left, top, size.width - left - 2.2 * font, size.height - top - bottom)
        axes.set_label("share of influence (%)")
        style(axes, size, theme)
        lowest = min(float(shares.parameters[0]) for shares in lines.values())
        for index, (name, shares) in enumerate(lines.items()):
            axes.plot(
                100 * np.concatenate([shares.parameters[:1], shares.parameters]),
                100 * np.concatenate([[0.0], shares.influence]),
                color=theme.series[(styles or {}).get(name, index) % len(theme.series)], linewidth=1.7,
                drawstyle="steps-post", marker="o", markersize=3, label=printable(name), gid=f"share-{index}",
            )  # fmt: skip
        if budget is not None:
            axes.axvline(100 * budget, color=theme.muted, linewidth=1, linestyle=(0, (4, 2)))
            axes.text(100 * budget, 99, f" {percent(budget)}", fontsize=font, color=theme.muted, va="top")
        axes.set_xscale("log")
        axes.set_xlim(100 * min(lowest, budget or 1.0) / 2, 120)
        axes.set_ylim(-2, 103)
        axes.xaxis.set_major_locator(LogLocator(numticks=size.ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
        plain_ticks(axes, y=6)
        axes.set_xlabel("share of parameters (%), log scale", fontsize=font, color=theme.muted, loc="right", labelpad=3)
        axes.text(
            -left / (size.width - left - 2.2 * font), 1 + 0.7 * font / (size.height - top - bottom),
            "share of influence (%)", transform=axes.transAxes, va="bottom", fontsize=font, color=theme.text,
        )  # fmt: skip
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=font, labelcolor=theme.text, loc="lower right")
        return figure
