"""Drawings as a page has them: in two sizes, with caption and legend; none without matplotlib."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hidlr.reports.figures import Panel, is_thinned, line_figure
from hidlr.reports.readings import readings
from hidlr.reports.svg import to_svg
from hidlr.reports.text import number, plural, printable
from hidlr.reports.theme import INK, NARROW, WIDE, Size, has_matplotlib
from hidlr.reports.thin import Floats
from hidlr.reports.views import Key, Picture, Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["drawn", "drawn_grid", "drawn_lines", "keys_of"]


def drawn(
    key: str, label: str, caption: str, keys: Sequence[Key], draw: Callable[[Size], "Figure"]
) -> tuple[Plot, ...]:
    """A figure for a desktop and for a phone.

    Args:
        key: tells the figure's ids from those of others on the page.
        label: what the figure shows, for those who do not see it.
        caption: what stands below it.
        keys: legend.
        draw: makes it in a size, with the colours of `theme.INK`.

    Returns:
        One plot; none without matplotlib.
    """
    if not has_matplotlib():
        return ()
    pictures = tuple(_picture(key, label, draw(size), size.name) for size in (WIDE, NARROW))
    return (Plot(pictures, caption, tuple(keys)),)


def drawn_lines(key: str, panel: Panel, caption: str, keys: Sequence[Key] = ()) -> tuple[Plot, ...]:
    """Curves over the steps, across the page."""
    return _lines(key, [panel], caption, keys, lambda _: 1)


def drawn_grid(key: str, panels: Sequence[Panel], caption: str, keys: Sequence[Key] = ()) -> tuple[Plot, ...]:
    """Panels of curves over the same steps, side by side where there is room; those with nothing are left out."""
    panels = [panel for panel in panels if not panel.empty()]
    if not panels:
        return ()
    return _lines(key, panels, caption, keys, lambda size: min(len(panels), max(1, size.columns // 2)))


def keys_of(panel: Panel) -> list[Key]:
    """A legend of the curves in front, each with its last value; a curve without any has no place in it."""
    front = [line for line in panel.drawn().lines if line.style is not None and np.isfinite(line.y).any()]
    front.sort(key=lambda line: line.style or 0)
    return [Key(printable(line.name), _last(line.y), line.style) for line in front]


def _lines(
    key: str, panels: list[Panel], caption: str, keys: Sequence[Key], columns: Callable[[Size], int]
) -> tuple[Plot, ...]:
    if is_thinned(panels, NARROW):
        caption += " Thinned for drawing: every stretch of steps keeps its lowest and its highest value."
    label = "; ".join(f"{panel.label} over steps, {plural(len(panel.lines), 'line')}" for panel in panels)
    return drawn(key, label, caption, keys, lambda size: line_figure(panels, size, INK, columns(size)))


def _picture(key: str, label: str, figure: "Figure", kind: str) -> Picture:
    svg = to_svg(figure, f"{key}-{kind}-", label, kind)
    return Picture(kind, svg, round(72 * figure.get_figwidth()), readings(figure))


def _last(values: Floats) -> str:
    return number(float(values[np.isfinite(values)][-1]))
