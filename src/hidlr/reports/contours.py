"""The path of a 2-D workload over the contours of its function."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hidlr.reports.axes import place, plain_ticks, style
from hidlr.reports.surface import Surface
from hidlr.reports.theme import Size, Theme, drawing
from hidlr.reports.thin import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["path_figure"]

_GRID = 100
_POINTS = 1500


def path_figure(surface: Surface, path: Sequence[tuple[float, float]], size: Size, theme: Theme) -> "Figure":
    """Draw contours at equal steps of the logarithm of the height above the lowest, and the path.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing():
        from matplotlib.figure import Figure

        width = min(size.width, 640)
        height = 1.35 * size.height
        left, top, bottom = 4.6 * size.font, 10.0, 3.6 * size.font
        figure = Figure(figsize=(width / 72, height / 72))
        figure.patch.set_visible(False)
        axes = place(figure, left, top, width - left - 10, height - top - bottom)
        axes.set_label("second parameter")
        style(axes, size, theme)
        axes.grid(False)
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set(visible=True, color=theme.line)
        _contours(axes, surface, theme)
        points = np.asarray(path, dtype=np.float64).reshape(-1, 2)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            shown = points[_kept(len(points))]
            marks = "o" if len(points) <= 60 else None
            axes.plot(
                *shown.T, color=theme.series[0], linewidth=1.6, marker=marks, markersize=3, gid="path", label="path"
            )
            axes.plot(
                *points[0],
                marker="o",
                markersize=8,
                color=theme.surface,
                markeredgecolor=theme.series[0],
                markeredgewidth=2,
            )
            axes.plot(*points[-1], marker="o", markersize=8, color=theme.series[0])
        if surface.minimum is not None:
            axes.plot(
                *surface.minimum,
                marker="X",
                markersize=10,
                color=theme.series[1],
                markeredgecolor=theme.surface,
                markeredgewidth=1,
            )
        axes.set_xlim(*surface.xlim)
        axes.set_ylim(*surface.ylim)
        plain_ticks(axes, x=size.ticks, y=6)
        axes.set_xlabel("first parameter", fontsize=size.font, color=theme.muted)
        axes.set_ylabel("second parameter", fontsize=size.font, color=theme.muted, labelpad=2)
        return figure


def _contours(axes: "Axes", surface: Surface, theme: Theme) -> None:
    rows, columns = (slice(None, None, -(-length // _GRID)) for length in surface.z.shape)
    z = surface.z[rows, columns]
    finite = z[np.isfinite(z)]
    if not len(finite) or finite.max() <= finite.min():
        return
    height = np.ma.masked_invalid(z - finite.min())
    top = float(finite.max() - finite.min())
    levels = np.geomspace(2e-3 * top, 0.7 * top, 11)
    axes.contour(
        surface.x[columns], surface.y[rows], height, levels=levels, colors=[theme.muted], linewidths=0.8, alpha=0.55
    )


def _kept(length: int) -> Floats:
    places: Floats = np.unique(np.linspace(0, length - 1, min(length, _POINTS)).astype(np.int64))
    return places
