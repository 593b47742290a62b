"""Several runs in the same axes, a colour each."""

import math
from collections.abc import Iterable, Mapping

from hidlr.reports.drawn import drawn, drawn_grid, drawn_lines
from hidlr.reports.figures import Line, Panel
from hidlr.reports.heatmap import draw_heat_maps, grid_of
from hidlr.reports.load import RunData
from hidlr.reports.progress import cost_line, evaluation_plots, loss_panel, smoothed
from hidlr.reports.series import GroupSeries
from hidlr.reports.shares import draw_shares, shares_of
from hidlr.reports.text import count, plural, shorten
from hidlr.reports.theme import INK
from hidlr.reports.views import Key, Plot, Section

__all__ = ["cost", "influence", "rates", "training"]

_GROUPS = 12
_MAPS = 6


def training(runs: Mapping[str, RunData]) -> Section | None:
    """Training losses and evaluations."""
    found = [smoothed(data, run, style) for style, (run, data) in enumerate(runs.items())]
    panel = loss_panel([line for line, _ in found])
    keys = _keys(runs)
    plots: tuple[Plot, ...] = ()
    if not panel.empty():
        windows = sorted({window for _, window in found if window > 1})
        over = " to ".join(count(window) for window in dict.fromkeys(windows[:1] + windows[-1:]))
        caption = "Training loss over steps" + (f", mean of {over} steps." if windows else ".")
        plots += drawn_lines("training", panel, caption, keys)
    plots += evaluation_plots(runs, keys)
    return Section("training", "Training", plots=plots) if plots else None


def rates(
    series: Mapping[str, Mapping[str, GroupSeries]], finals: Mapping[str, Mapping[str, float]], groups: list[str]
) -> tuple[Plot, ...]:
    """A panel for each group of more than one run; of many, those whose final rates lie farthest apart."""
    shared = [group for group in groups if sum(group in found for found in series.values()) > 1] or groups
    shown = sorted(shared, key=lambda group: -_spread([found.get(group, math.nan) for found in finals.values()]))
    shown = sorted(shown[:_GROUPS], key=groups.index)
    panels = [
        Panel(
            shorten(group, 40),
            tuple(
                Line(run, found[group].steps, found[group].rates, style)
                for style, (run, found) in enumerate(series.items())
                if group in found
            ),
            log=True,
        )
        for group in shown
    ]
    caption = "Tuned rate (lr) of each group after each probe, log scale."
    if len(shared) < len(groups):
        caption += f" {plural(len(groups) - len(shared), 'group')} of one run alone not drawn."
    if len(shown) < len(shared):
        caption += f" The {_GROUPS} of {count(len(shared))} groups whose final rates lie farthest apart."
    keys = [key for key in _keys(series) if series[key.name]]
    return drawn_grid("rates", panels, caption, keys)


def influence(runs: Mapping[str, RunData]) -> tuple[Plot, ...]:
    """Maps by role and layer in the same shades, and influence against parameters."""
    plots: tuple[Plot, ...] = ()
    grids = {run: grid for run, data in runs.items() if (grid := grid_of(data.influence)) is not None}
    # A map whose every row has one cell says no more than the table.
    grids = {run: grid for run, grid in grids.items() if len(grid.ppi) > len(grid.rows)}
    if grids:
        shown = dict(list(grids.items())[:_MAPS])
        caption = "Influence per parameter (loss per parameter) by role and layer, in the same shades for all runs."
        if len(grids) == 1:
            caption = f"Influence per parameter (loss per parameter) by role and layer, of {next(iter(grids))}."
        if len(shown) < len(grids):
            caption += f" The first {_MAPS} of {plural(len(grids), 'run')}."
        label = f"Maps of influence per parameter of {plural(len(shown), 'run')}."
        plots += drawn("heat", label, caption, (), lambda size: draw_heat_maps(shown, size, INK))
    styles = {run: style for style, run in enumerate(runs)}
    shares = {run: found for run, data in runs.items() if (found := shares_of(data.influence)) is not None}
    if any(len(found.names) > 1 for found in shares.values()):
        caption = "The share of all influence that a share of the parameters offers, groups added up from the highest."
        label = f"Share of influence against share of parameters, {plural(len(shares), 'run')}."
        plots += drawn("shares", label, caption, (), lambda size: draw_shares(shares, None, size, INK, styles))
    return plots


def cost(runs: Mapping[str, RunData]) -> Section | None:
    """The probes' share of the wall-clock."""
    lines = tuple(cost_line(data, run, style) for style, (run, data) in enumerate(runs.items()))
    panel = Panel("share of the run's time so far (%)", lines, zero=True)
    if panel.empty():
        return None
    caption = "Wall-clock of the probes over that of the run, both from its start up to each step."
    return Section("cost", "What probing cost", plots=drawn_lines("cost", panel, caption, _keys(runs)))


def _keys(runs: Iterable[str]) -> list[Key]:
    return [Key(run, "", style) for style, run in enumerate(runs)]


def _spread(values: list[float]) -> float:
    usable = [value for value in values if math.isfinite(value) and value > 0]
    return max(usable) / min(usable) if usable else 0.0
