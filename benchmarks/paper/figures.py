"""Figures in the report's style, on paper."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.reports.axes import place, style
from hidlr.reports.theme import PAPER, WIDE, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Bar", "Bars", "bars", "grid", "save", "title"]

_NUMBER = re.compile(r"(?<=[ \"(,])-?\d+\.\d{2,}")  # hundredths of a pixel are no one's
_LINE, _TOP = 20, 34


@dataclass(frozen=True)
class Bar:
    """A mean and the half width of its interval (nan: unknown)."""

    label: str
    mean: float
    half: float
    ours: bool = False


@dataclass(frozen=True)
class Bars:
    """Means on one axis."""

    title: str
    unit: str
    lines: Sequence[Bar]


def grid(
    panels: int, columns: int, height: int = 230, left: int = 56, below: int = 44
) -> tuple["Figure", list["Axes"]]:
    """A figure of so many axes of the same size.

    Args:
        panels: number of axes.
        columns: most of them side by side.
        height: of each (CSS pixels).
        left: room for labels left of each (CSS pixels).
        below: the same below.
    """
    from matplotlib.figure import Figure

    columns = min(columns, panels)
    rows = -(-panels // columns)
    width = WIDE.width // columns
    with drawing():
        figure = Figure(figsize=(WIDE.width / 72, rows * (height + _TOP + below) / 72), facecolor=PAPER.surface)
        axes = []
        for index in range(panels):
            row, column = divmod(index, columns)
            top = row * (height + _TOP + below) + _TOP
            axes.append(place(figure, column * width + left, top, width - left - 18, height))
            style(axes[-1], WIDE, PAPER)
    return figure, axes


def title(axes: "Axes", text: str, x: str = "", y: str = "") -> None:
    """Words on axes, in the style's sizes."""
    axes.set_title(text, loc="left", fontsize=WIDE.font + 0.5, color=PAPER.text)
    axes.set_xlabel(x, fontsize=WIDE.font, color=PAPER.muted)
    axes.set_ylabel(y, fontsize=WIDE.font, color=PAPER.muted)


def bars(panels: Sequence[Bars], columns: int = 3) -> "Figure":
    """A panel for each row of a comparison: a mark and its interval for each method, ours in colour."""
    most = max(len(panel.lines) for panel in panels)
    figure, axes = grid(len(panels), columns, most * _LINE, left=128)
    for own, panel in zip(axes, panels, strict=True):
        known = [line for line in panel.lines if abs(line.mean) < 1e5]  # the others diverged
        for place_, line in enumerate(panel.lines):
            color = PAPER.series[0] if line.ours else PAPER.muted
            if line in known:
                half = line.half if math.isfinite(line.half) else 0.0
                own.plot([line.mean - half, line.mean + half], [place_, place_], color=color, lw=1.6)
                own.plot([line.mean], [place_], "o", color=color, ms=5)
            else:
                own.text(0.02, place_, "diverged", color=color, fontsize=WIDE.font, va="center",
                         transform=own.get_yaxis_transform())  # fmt: skip
        own.set_yticks(range(len(panel.lines)), [line.label for line in panel.lines])
        own.set_ylim(len(panel.lines) - 0.4, -0.6)
        own.grid(axis="y", visible=False)
        own.grid(axis="x", color=PAPER.line, linewidth=0.8)
        own.locator_params(axis="x", nbins=4)
        title(own, panel.title, panel.unit)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """As SVG, the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with drawing():
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    text = _NUMBER.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), path.read_text(encoding="utf-8"))
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
