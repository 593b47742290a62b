"""The page's sections made of plots; without matplotlib, their words alone."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from hidlr.reports.contours import path_figure
from hidlr.reports.curves import last_curves
from hidlr.reports.drawn import drawn, drawn_lines, keys_of
from hidlr.reports.figures import Line, Panel
from hidlr.reports.heatmap import draw_heat_maps, grid_of
from hidlr.reports.load import RunData
from hidlr.reports.parabolas import draw_parabolas
from hidlr.reports.series import GroupSeries, influence_over_time
from hidlr.reports.shares import draw_shares, shares_of
from hidlr.reports.text import count, number, percent, plural, printable
from hidlr.reports.theme import INK
from hidlr.reports.thin import Floats
from hidlr.reports.views import Key, Plot, Section
from hidlr.reports.words import phases_sentence

__all__ = ["curvatures", "influence", "parabolas", "path", "rates", "slopes"]

Styles = Mapping[str, int | None]

_CURVES = 12
_BUDGET = 0.01  # share of the parameters that is marked


def rates(data: RunData, series: Mapping[str, GroupSeries], styles: Styles) -> Section | None:
    """Rates over time, as the tuner holds them: the schedule divided out."""
    panel = _group_panel("rate (lr), log scale", series, styles, lambda group: (group.steps, group.rates))
    words = [phases_sentence([(record.step, record.phase) for record in data.records])]
    factors = [record.factor for record in data.records]
    if any(factor != 1 for factor in factors):
        words.append(
            "What is drawn is the tuned rate. The optimizer's rate is this times the schedule, which went "
            f"from {number(factors[0])} to {number(factors[-1])} at the last probe."
        )
    caption = "Rate of each group after each probe."
    return _group_section("rates", "Rates", panel, caption, words, styles)


def slopes(series: Mapping[str, GroupSeries], styles: Styles) -> Section | None:
    """Accepted slopes over time."""
    panel = _group_panel(
        "slope b (loss / lr), log scale", series, styles, lambda group: (group.measured_at, group.slopes)
    )
    caption = "Slope of each accepted measurement: how fast the loss falls along the group's own step."
    return _group_section("slopes", "Slopes", panel, caption, [], styles)


def curvatures(series: Mapping[str, GroupSeries], styles: Styles) -> Section | None:
    """Accepted curvatures over time."""
    panel = _group_panel(
        "curvature A (loss / lr\u00b2), log scale",
        series,
        styles,
        lambda group: (group.measured_at, group.curvatures),
    )
    caption = "Curvature of each accepted measurement: how soon the loss turns up again along that step."
    return _group_section("curvatures", "Curvatures", panel, caption, [], styles)


def influence(data: RunData, series: Mapping[str, GroupSeries], styles: Styles) -> tuple[Plot, ...]:
    """Influence by role and layer, against parameters, and over time."""
    plots: tuple[Plot, ...] = ()
    grid = grid_of(data.influence)
    # A map whose every row has one cell says no more than the bars below it.
    if grid is not None and len(grid.ppi) > len(grid.rows):
        caption = (
            "Influence per parameter (loss per parameter) by role and layer, in logarithmic shades: the stronger, the "
            "more a parameter there is worth training. Empty cells were not measured, or do not exist."
        )
        label = f"Map of influence per parameter, {plural(len(grid.ppi), 'cell')}."
        plots += drawn("heat", label, caption, (), lambda size: draw_heat_maps({"": grid}, size, INK))
    shares = shares_of(data.influence)
    if shares is not None and len(shares.names) > 1:
        frozen = sum(len(record.frozen) for record in data.records) > 0
        budget = _BUDGET
        caption = (
            "Groups by influence per parameter, added up from the highest: the share of all influence, each group "
            f"measured on its own, that a share of the parameters offers. {percent(budget)} of the parameters offer "
            f"{percent(shares.within(budget))} of it." + (" This run froze some groups." if frozen else "")
        )
        label = f"Share of influence against share of parameters, {plural(len(shares.names), 'group')}."
        plots += drawn(
            "shares", label, caption, (), lambda size: draw_shares({"all groups": shares}, budget, size, INK)
        )
    panel = _group_panel(
        "influence per parameter, log scale",
        series,
        styles,
        lambda group: (group.measured_at, influence_over_time(group)),
    )
    if not panel.empty():
        caption = "Influence per parameter from all accepted measurements up to each step."
        plots += drawn_lines("influence-over-time", panel, caption, keys_of(panel))
    return plots


def parabolas(data: RunData, styles: Styles) -> Section | None:
    """The last measured points of each group and their parabola."""
    found = last_curves(data.records)
    if not found:
        return None
    ranked = sorted(found, key=lambda name: (styles.get(name) is None, styles.get(name) or 0))[:_CURVES]
    steps = sorted(found[name][0] for name in ranked)
    when = f"step {count(steps[0])}" if steps[0] == steps[-1] else f"steps {count(steps[0])} to {count(steps[-1])}"
    caption = (
        f"The last probe of each group along its own step ({when}): change of loss against rate. Dots are "
        "measured, the line is the parabola of the recorded slope and curvature, the diamond its minimum."
    )
    if len(found) > len(ranked):
        caption += f" {len(ranked)} of {count(len(found))} groups."
    curves = [found[name][1] for name in ranked]
    label = f"Measured loss against rate with a fitted parabola, for {plural(len(curves), 'group')}."
    plots = drawn("parabolas", label, caption, (), lambda size: draw_parabolas(curves, size, INK))
    return Section("parabolas", "Parabolas", plots=plots) if plots else None


def path(data: RunData) -> Section | None:
    """The trajectory of a 2-D workload."""
    surface = data.result.surface if data.result else None
    points = [metric.point for metric in data.metrics if metric.point is not None]
    if surface is None:
        return None
    (left, right), (low, high) = surface.xlim, surface.ylim
    outside = sum(not (left <= x <= right and low <= y <= high) for x, y in points)
    words = []
    if points and surface.minimum is not None:
        distance = math.dist(points[-1], surface.minimum)
        words.append(f"The path ends {number(distance)} from the minimum, after {plural(len(points), 'step')}.")
    if outside:
        words.append(f"{plural(outside, 'point')} of the path outside of the picture.")
    name = printable(surface.name or "the function")
    caption = f"Contours of {name}: from one to the next the height above the lowest grows by the same factor."
    keys = [Key("path, from the open to the filled dot", "", 0)] if points else []
    keys += [Key("minimum (cross)", "", 1)] if surface.minimum else []
    plots = drawn(
        "path",
        f"Path of the parameters over the contours of {name}.",
        caption,
        keys,
        lambda size: path_figure(surface, points, size, INK),
    )
    return Section("path", "Path", words=tuple(words), plots=plots) if words or plots else None


def _group_panel(
    label: str,
    series: Mapping[str, GroupSeries],
    styles: Styles,
    values: Callable[[GroupSeries], tuple[Floats, Floats]],
) -> Panel:
    lines = tuple(Line(name, *values(group), styles.get(name)) for name, group in series.items())
    return Panel(label, lines, log=True)


def _group_section(
    key: str, title: str, panel: Panel, caption: str, words: list[str], styles: Styles
) -> Section | None:
    if panel.empty():
        return None
    low = sum(int((line.y <= 0).sum()) for line in panel.lines)
    broken = sum(int((~np.isfinite(line.y)).sum()) for line in panel.lines)
    if low:
        caption += f" {plural(low, 'value')} at or below 0 not on the log scale."
    if broken:
        caption += f" {plural(broken, 'value')} not finite."
    keys = keys_of(panel)
    others = sum(style is None for style in styles.values())
    if others:
        caption += " The groups with the highest and the lowest final rates are in colour."
        keys.append(Key(plural(others, "other group"), "", None))
    return Section(key, title, words=tuple(filter(None, words)), plots=drawn_lines(key, panel, caption, keys))
