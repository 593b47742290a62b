"""Pictures of the results: a performance profile over all methods, and loss curves pair by pair."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.scoring.load import Pair, Run
from benchmarks.scoring.pairs import Figure, PairRow, pair_rows
from benchmarks.scoring.results import FINAL_SEEDS, STARTS, Results
from benchmarks.scoring.statistics import profile, regrets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["IMAGES", "all_regrets", "draw"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_UNIFORM, _OURS = "tuned uniform", "hidlr"
_SMALLEST = 1e-3  # regrets below are drawn here: the axis is logarithmic
_COLUMNS = 4


def all_regrets(results: Results) -> dict[str, dict[Pair, float]]:
    """By method and pair, (best - value) / (best - initial): 0 the best method's mean, 1 a model that learned nothing.

    Directions and units differ between metrics, so a ratio of metrics would not compare; this share does. The initial
    value is chance for scores, and for losses the loss of the runs' first steps. Methods are the tuned uniform rate,
    hidlr (starting rates pooled) and the peers, each on the pairs that it was run on.
    """
    found: dict[str, dict[Pair, float]] = defaultdict(dict)
    for row in pair_rows(results):
        own: dict[str, Figure | None] = {_UNIFORM: row.reference, _OURS: row.pooled, **row.peers}
        means = {name: figure.value.mean for name, figure in own.items() if figure is not None}
        if len(means) < 2:
            continue
        best = max(means.values(), key=lambda mean: row.metric.gain(mean, row.metric.worst))
        gaps = {name: row.metric.gain(best, mean) for name, mean in means.items()}
        worst = row.metric.gain(best, row.metric.initial(results.final(row.pair)))
        for name, regret in regrets(gaps, worst).items():
            found[name][row.pair] = regret
    return dict(found)


def draw(results: Results, folder: Path = IMAGES) -> list[Path]:
    """Draw `profile.png` and `curves.png`; those that there is nothing for are left out."""
    import matplotlib

    matplotlib.use("Agg")
    drawn = []
    folder.mkdir(parents=True, exist_ok=True)
    found = all_regrets(results)
    for name, figure in (("profile", _profile(found) if found else None), ("curves", _curves(results))):
        if figure is not None:
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=110, metadata={"Software": None})
            drawn.append(path)
    return drawn


def _profile(found: Mapping[str, Mapping[Pair, float]]) -> "Canvas":
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    # Ours and the reference stand out; the others differ by colour, and by dashes once colours run out.
    colours = ("C0", "C1", "C2", "C4", "C5", "C6", "C8", "C9")
    others = iter([(colour, 1.0, dashes) for dashes in ("-", "--", ":") for colour in colours] * 2)
    for name, regret in sorted(found.items(), key=lambda item: statistics.median(item[1].values())):
        corners = profile(list(regret.values()))
        x = [_SMALLEST, *(max(value, _SMALLEST) for value, _ in corners), 1.0]
        y = [0.0, *(share for _, share in corners), corners[-1][1]]
        colour, width, dashes = {_OURS: ("C3", 2.4, "-"), _UNIFORM: ("black", 2.0, "-")}.get(name) or next(others)
        axes.step(
            x, y, where="post", label=f"{name} ({len(regret)})",
            color=colour, lw=width, ls=dashes,
        )  # fmt: skip
    axes.set(
        xscale="log", xlim=(_SMALLEST, 1), ylim=(0, 1.02), ylabel="share of the pairs",
        xlabel="regret: share of the best method's improvement that is missed, at most",
    )  # fmt: skip
    axes.legend(fontsize=7, title="method (pairs)", title_fontsize=7, loc="lower right")
    _plain(axes)
    return figure


def _curves(results: Results) -> "Canvas | None":
    from matplotlib.figure import Figure as Canvas

    rows = [row for row in pair_rows(results) if row.reference and row.pooled]
    if not rows:
        return None
    height = math.ceil(len(rows) / _COLUMNS)
    figure = Canvas(figsize=(2.8 * _COLUMNS, 2.2 * height), layout="constrained")
    grid = figure.subplots(height, _COLUMNS, squeeze=False)
    for axes, row in zip(grid.flat, rows, strict=False):
        _panel(axes, results, row)
    for axes in grid.flat[len(rows) :]:
        axes.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8)
    return figure


def _panel(axes: "Axes", results: Results, row: PairRow) -> None:
    ours = results.ours(row.pair)
    lines = [("tuned uniform", "black", results.reference(row.pair))]
    for index, start in enumerate(STARTS):
        lines.append((f"hidlr from {start:g}", f"C{index}", [run for run in ours if run.config.rate == start]))
    lines.append(("best peer", "0.7", results.peers(row.pair)[row.best_peer[0]] if row.best_peer else []))
    lowest = math.inf
    for label, colour, runs in lines:
        points = _points(runs)
        axes.plot([step for step, _ in points], [loss for _, loss in points], label=label, color=colour, lw=1)
        lowest = min([lowest, *(loss for _, loss in points)])
    axes.set_title(str(row.pair), fontsize=8)
    axes.tick_params(which="both", labelsize=6)
    axes.set_yscale("log" if lowest > 0 else "linear")
    _plain(axes)


def _points(runs: Sequence[Run]) -> list[tuple[float, float]]:
    """The loss curve of the first final seed that there is a run of."""
    seeds = {run.config.seed: run for run in runs}
    run = next((seeds[seed] for seed in FINAL_SEEDS if seed in seeds), None)
    return [point for point in run.curve if math.isfinite(point[1])] if run else []


def _plain(axes: "Axes") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
