"""The numbers behind a figure, so that a reader can point at a curve and be told its values."""

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from hidlr.reports.theme import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

__all__ = ["readings"]

# The page's variable for a colour: "c3" of "var(--c3)".
_ROLES = {color: variable[6:-1] for color, variable in INK.variables().items()}


def readings(figure: "Figure") -> str:
    """Places and values of all curves and cells that have a gid, as JSON for the page's script.

    What is drawn can be read, and nothing else: of a thinned curve, the points that were kept.

    Args:
        figure: drawn in `theme.INK`.

    Returns:
        A list with an object for each axes that has something to read: ``box`` (left, top, width, height as
        percent of the figure), ``x`` and ``y`` (name, first and last value, whether logarithmic), and ``lines``
        (name, colour or "" in the background, dashed, x, y), or ``cells`` (text, and left, top, width, height as
        percent of the box).
    """
    found = [_axes(axes) for axes in figure.axes]
    return json.dumps([panel for panel in found if panel], ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _axes(axes: "Axes") -> dict[str, Any]:
    # The background last: it is the front that is read first.
    lines = sorted((line for line in axes.lines if line.get_gid()), key=lambda line: line.get_alpha() is not None)
    cells = [patch for patch in axes.patches if patch.get_gid()]
    content: dict[str, Any] = {}
    if drawn := [entry for line in lines if (entry := _line(line, axes.get_ylim()))["x"]]:
        content["lines"] = drawn
    if cells:
        content["cells"] = [_cell(axes, cell) for cell in cells]
    if not content:
        return {}
    place = axes.get_position()
    box = place.x0, 1 - place.y1, place.width, place.height
    x = [_plain(axes.get_xlabel()), *map(float, axes.get_xlim()), axes.get_xscale() == "log"]
    y = [_plain(axes.get_label()), *map(float, axes.get_ylim()), axes.get_yscale() == "log"]
    return {"box": [round(100 * part, 3) for part in box], "x": x, "y": y, **content}


def _plain(label: object) -> str:
    return str(label).removesuffix(", log scale")


def _line(line: "Line2D", limits: tuple[float, float]) -> dict[str, Any]:
    x, y = (np.asarray(data, dtype=np.float64) for data in (line.get_xdata(), line.get_ydata()))
    # A parabola may leave the picture.
    kept = np.isfinite(x) & (y >= limits[0]) & (y <= limits[1])
    return {
        "name": str(line.get_label()),
        "color": _ROLES[str(line.get_color())] if line.get_alpha() is None else "",
        "dashed": line.is_dashed(),
        "x": _numbers(x[kept], 7),
        "y": _numbers(y[kept], 4),
    }


def _cell(axes: "Axes", cell: "Patch") -> list[Any]:
    corners = axes.transAxes.inverted().transform(cell.get_window_extent().get_points())
    (left, low), (right, high) = np.sort(corners, axis=0)
    return [
        str(cell.get_label()),
        *(round(100 * float(part), 2) for part in (left, 1 - high, right - left, high - low)),
    ]


def _numbers(values: Iterable[float], digits: int) -> list[float | int]:
    short = (float(f"{value:.{digits}g}") for value in values)
    return [int(value) if value.is_integer() and math.fabs(value) < 1e9 else value for value in short]
