"""Per-parameter influence by role and layer: a map in logarithmic shades, several runs side by side."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hidlr.errors import InputError
from hidlr.groups import ROLES
from hidlr.influence import Influence
from hidlr.reports.axes import place
from hidlr.reports.text import number, printable, shorten
from hidlr.reports.theme import PAPER, WIDE, Size, Theme, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Grid", "draw_heat_maps", "grid_of", "heat_figure"]

_BLOCK = re.compile(r"(?:^|\.)layer_(\d+)$")
_MOST_ROWS = 24
_FAINTEST = 0.06  # of the ink: the lowest value is still a cell


@dataclass(frozen=True)
class Grid:
    """Influence by row (role, or tensor within its block) and column (layer).

    Attributes:
        rows: names of the rows, top to bottom.
        columns: layers, left to right.
        ppi: influence per parameter of each cell that was measured, by row and column (loss per parameter).
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    ppi: Mapping[tuple[str, str], float]


def grid_of(influence: Influence) -> Grid | None:
    """Sort groups into cells; those that share one are taken together.

    Args:
        influence: of groups each within one layer ("role_layer", "layer", "tensor").

    Returns:
        None where fewer than two cells are known: groups that span layers have no place here.
    """
    spots = {name: spot for name in influence.ppi if (spot := _spot(influence, name)) is not None}
    fine = {row for row, _, _ in spots.values()}
    cells: dict[tuple[str, str], list[float]] = {}
    for name, (row, role, layer) in spots.items():
        own = cells.setdefault((row if len(fine) <= _MOST_ROWS else role, layer), [0.0, 0.0])
        own[0] += 2 * influence.total[name]
        own[1] += influence.sizes[name]
    ppi = {cell: both / size for cell, (both, size) in cells.items() if size and both > 0 and math.isfinite(both)}
    if len(ppi) < 2:
        return None
    rows = dict.fromkeys(row for row, _ in ppi)
    order = {role: index for index, role in enumerate(ROLES)}
    columns = sorted(dict.fromkeys(column for _, column in ppi), key=_column_order)
    return Grid(tuple(sorted(rows, key=lambda row: order.get(row, len(order)))), tuple(columns), ppi)


def heat_figure(influences: Mapping[str, Influence]) -> "Figure":
    """Draw one map per run, all in the same shades.

    Args:
        influences: by the name of the run; at least one whose groups have a place.

    Returns:
        A matplotlib figure that belongs to no window: ``figure.savefig("influence.png")``.

    Raises:
        InputError: no run has groups within layers.
        MissingExtraError: matplotlib is not installed.
    """
    grids = {name: grid for name, found in influences.items() if (grid := grid_of(found)) is not None}
    if not grids:
        raise InputError('no groups within layers to draw: measure with by="role_layer" or by="tensor"')
    figure = draw_heat_maps(grids, WIDE, PAPER)
    figure.patch.set(visible=True, facecolor=PAPER.surface)
    return figure


def draw_heat_maps(grids: Mapping[str, Grid], size: Size, theme: Theme) -> "Figure":
    """As `heat_figure`, for a place on a page; maps stand beside one another where there is room."""
    values = [value for grid in grids.values() for value in grid.ppi.values()]
    low, high = math.log10(min(values)), math.log10(max(values))
    with drawing():
        from matplotlib.figure import Figure

        font = size.font
        columns = min(len(grids), max(1, size.columns // 2))
        rows = -(-len(grids) // columns)
        label = min(0.62 * font * max(len(row) for grid in grids.values() for row in grid.rows), 0.4 * size.width)
        cell = 1.9 * font
        edge = 8.0
        narrowest = (size.width / columns - label - 2 * edge) / max(len(grid.columns) for grid in grids.values())
        longest = max(len(_short(column)) for grid in grids.values() for column in grid.columns)
        upright = 0.62 * font * longest < narrowest
        top, bottom = 2.4 * font, (2.2 if upright else 0.8 + 0.66 * longest) * font + font
        tallest = max(len(grid.rows) for grid in grids.values())
        panel = (size.width / columns, top + cell * tallest + bottom)
        legend = 3.4 * font
        figure = Figure(figsize=(size.width / 72, (rows * panel[1] + legend) / 72))
        figure.patch.set_visible(False)
        for index, (name, grid) in enumerate(grids.items()):
            x, y = index % columns * panel[0], index // columns * panel[1]
            axes = place(figure, x + label + edge, y + top, panel[0] - label - 2 * edge, cell * len(grid.rows))
            _draw(axes, grid, (low, high), font, theme, f"map{index}", label, upright)
            if len(grids) > 1:
                axes.set_title(shorten(name, 40), fontsize=font, color=theme.text, loc="left")
        axes = place(figure, label + edge, rows * panel[1], size.width - label - 2 * edge, 1.2 * font)
        _draw_legend(axes, (low, high), font, theme)
        return figure


def _draw(
    axes: "Axes",
    grid: Grid,
    span: tuple[float, float],
    font: float,
    theme: Theme,
    prefix: str,
    width: float,
    upright: bool,
) -> None:
    from matplotlib.patches import Rectangle

    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlim(0, len(grid.columns))
    axes.set_ylim(len(grid.rows), 0)
    for index, ((row, column), value) in enumerate(grid.ppi.items()):
        at = grid.columns.index(column) + 0.04, grid.rows.index(row) + 0.06
        axes.add_patch(
            Rectangle(
                at, 0.92, 0.88, facecolor=theme.series[0], alpha=_shade(math.log10(value), span), linewidth=0,
                label=printable(f"{row}, {column}: {number(value)}"), gid=f"{prefix}-{index}",
            )
        )  # fmt: skip
    # Where columns are narrower than their labels are high, every second or third has one.
    room = axes.bbox.width / len(grid.columns)
    labelled = range(0, len(grid.columns), 1 if upright else math.ceil(1.1 * font / room))
    axes.set_xticks([k + 0.5 for k in labelled])
    axes.set_xticklabels([_short(grid.columns[k]) for k in labelled], rotation=0 if upright else 90)
    axes.set_yticks([k + 0.5 for k in range(len(grid.rows))])
    characters = max(int(width / (0.62 * font)), 4)
    axes.set_yticklabels([shorten(row, characters) for row in grid.rows])
    axes.tick_params(length=0, pad=4, labelsize=font, labelcolor=theme.muted)
    axes.text(
        -0.1, len(grid.rows) + 0.25, "layer", fontsize=font, color=theme.text, ha="right", va="top",
        transform=axes.transData,
    )  # fmt: skip


def _draw_legend(axes: "Axes", span: tuple[float, float], font: float, theme: Theme) -> None:
    from matplotlib.patches import Rectangle

    axes.set_axis_off()
    steps = 5 if axes.bbox.width > 30 * font else 3
    axes.set_xlim(0, 2 * steps)
    axes.set_ylim(1, 0)
    for index in range(steps):
        level = span[0] + (span[1] - span[0]) * index / (steps - 1)
        axes.add_patch(
            Rectangle((2 * index, 0), 0.5, 1, facecolor=theme.series[0], alpha=_shade(level, span), linewidth=0)
        )
        axes.text(2 * index + 0.6, 0.5, number(10**level), va="center", fontsize=font, color=theme.muted)


def _short(column: str) -> str:
    return shorten(_BLOCK.sub(r"\1", column), 12)


def _shade(level: float, span: tuple[float, float]) -> float:
    share = (level - span[0]) / (span[1] - span[0]) if span[1] > span[0] else 1.0
    return _FAINTEST + (1 - _FAINTEST) * share


def _spot(influence: Influence, name: str) -> tuple[str, str, str] | None:
    """Fine row, role and layer of a group; None where its parameters lie in several layers."""
    members: Sequence[str] = influence.members.get(name, ())
    places = [influence.places[member] for member in members if member in influence.places]
    layers, roles = {place.layer for place in places}, {place.role for place in places}
    if not places:
        layer, slash, role = name.rpartition("/")
        return (role, role, layer) if slash else None
    if len(layers) > 1:
        return None
    (layer,) = layers
    role = roles.pop() if len(roles) == 1 else "all"
    block = _BLOCK.search(layer)
    if len(members) == 1 and block is not None:
        parts = members[0].split(".")
        if block[1] in parts:
            return ".".join(parts[parts.index(block[1]) + 1 :]) or role, role, layer
    return role, role, layer


def _column_order(layer: str) -> tuple[int, str, int]:
    block = _BLOCK.search(layer)
    if block is not None:
        return 1, layer[: block.start()], int(block[1])
    first = layer.rpartition(".")[2] in ("embedding", "stem", "entry")
    return (0 if first else 2), layer, 0
