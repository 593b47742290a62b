"""What metrics.jsonl tells over the steps of a run: loss, evaluations, the probes' share of the time."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hidlr.reports.drawn import drawn_grid, drawn_lines
from hidlr.reports.figures import Line, Panel
from hidlr.reports.load import Metric, RunData
from hidlr.reports.text import count, duration, percent, shorten
from hidlr.reports.thin import Floats, running_mean
from hidlr.reports.views import Key, Plot, Section
from hidlr.reports.words import loss_sentence

__all__ = ["cost", "cost_line", "evaluation_plots", "loss_panel", "smoothed", "training"]

_EVALS = 6
_SMOOTHED_FROM = 50


def training(data: RunData) -> Section | None:
    """Training loss and evaluation metrics."""
    losses = _column(data, lambda metric: metric.loss)
    finite = losses[np.isfinite(losses)]
    part = max(1, len(finite) // 100)
    words = loss_sentence(_mean(finite[:part]), _mean(finite[-part:]), len(losses) - len(finite))
    if part > 1:
        words = words.replace(" went", f" (mean of {count(part)} steps) went")
    line, window = smoothed(data, "loss", 0)
    lines, keys = [line], []
    if window > 1:
        lines = [replace(line, name="mean"), Line("each step", line.x, losses, None)]
        keys = [Key(f"mean of {count(window)} steps", "", 0), Key("each step", "", None)]
    panel = loss_panel(lines)
    plots = () if panel.empty() else drawn_lines("training", panel, "Training loss over steps.", keys)
    plots += evaluation_plots({"": data})
    return Section("training", "Training", words=(words,) if words else (), plots=plots) if plots or words else None


def smoothed(data: RunData, name: str, style: int) -> tuple[Line, int]:
    """The training loss over steps as a running mean, and the steps that it is over; 1 for a short run."""
    steps, losses = _column(data, lambda metric: metric.step), _column(data, lambda metric: metric.loss)
    window = max(3, len(steps) // 100) if np.isfinite(losses).sum() >= _SMOOTHED_FROM else 1
    return Line(name, steps, running_mean(losses, window), style), window


def loss_panel(lines: Sequence[Line]) -> Panel:
    """Training losses, on a log scale where they span more than two decades."""
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    log = len(values) > 0 and bool(values.min() > 0 and values.max() > 100 * values.min())
    return Panel("training loss" + (", log scale" if log else ""), tuple(lines), log)


def evaluation_plots(runs: Mapping[str, RunData], keys: Sequence[Key] = ()) -> tuple[Plot, ...]:
    """A panel for each metric of an evaluation, with a line for each run that has it."""
    names = _names(runs.values())
    panels = []
    for name in names[:_EVALS]:
        lines = []
        for style, (run, data) in enumerate(runs.items()):
            found = [(metric.step, metric.evals[name]) for metric in data.metrics if name in metric.evals]
            x, y = np.array(found, dtype=np.float64).reshape(-1, 2).T
            lines.append(Line(run or name, x, y, style))
        panels.append(Panel(shorten(name, 40), tuple(lines)))
    rest = f" {len(names) - _EVALS} more metrics are not drawn." if len(names) > _EVALS else ""
    return drawn_grid("evaluations", panels, "Evaluation metrics over steps." + rest, keys)


def cost(data: RunData) -> Section | None:
    """The probes' share of the wall-clock, up to each step."""
    line = cost_line(data, "probing", 0)
    panel = Panel("share of the run's time so far (%)", (line,), zero=True)
    if panel.empty():
        return None
    last = np.flatnonzero(np.isfinite(line.y))[-1]
    metric = data.metrics[last]
    words = f"{duration(metric.probe_seconds)} of {duration(metric.seconds)}: {percent(line.y[last] / 100)}."
    caption = "Wall-clock of the probes over that of the run, both from its start up to each step."
    return Section("cost", "What probing cost", words=(words,), plots=drawn_lines("cost", panel, caption))


def cost_line(data: RunData, name: str, style: int) -> Line:
    """The probes' share of the wall-clock up to each step (percent)."""
    whole = _column(data, lambda metric: metric.seconds)
    probes = _column(data, lambda metric: metric.probe_seconds)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = np.where(whole > 0, 100 * probes / whole, np.nan)
    return Line(name, _column(data, lambda metric: metric.step), share, style)


def _names(runs: Iterable[RunData]) -> list[str]:
    """Metrics of the evaluations, the one that chooses between runs first."""
    runs = list(runs)
    first = {data.result.metric_name for data in runs if data.result}
    found = {name for data in runs for metric in data.metrics for name in metric.evals}
    return sorted(found, key=lambda name: (name not in first, name))


def _column(data: RunData, read: Callable[[Metric], float]) -> Floats:
    return np.array([read(metric) for metric in data.metrics], dtype=np.float64)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
