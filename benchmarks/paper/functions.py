"""Rosenbrock, Beale and an ellipse, a group for each coordinate: iterations to 1e-6, and the ways there."""

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paper import figures
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.paper.walk import walk
from benchmarks.run import Result, RunConfig
from benchmarks.runner import Search, each
from hidlr.reports.theme import PAPER
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Functions"]

_FUNCTIONS = ("rosenbrock", "beale", "ellipse")
_STARTS = (1e-4, 1e-3, 1e-2, 1e-1)
_STEPS = 1000
_GOAL = 1e-6
# What Algorithm 1 prints: every step, the fit's minimum at once. The gates of the authors' code come on top.
_PRINTED = (("every", 1), ("smoothing", 0), ("clip", 1e9), ("min_r2", -1e9))
_METHODS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "sgd", "method": "uniform", "groups": "all"},
    "AdamW": {"optimizer": "adamw", "method": "uniform", "groups": "all"},
    "GeN": {"optimizer": "sgd", "method": "paper", "groups": "all", "options": _PRINTED},
    "Hi-DLR, as printed": {"optimizer": "sgd", "method": "paper", "groups": "tensor", "options": _PRINTED},
    "Hi-DLR, with gates": {"optimizer": "sgd", "method": "paper", "groups": "tensor", "options": (("every", 1),)},
    "hidlr, SGD": {"optimizer": "sgd", "method": "hidlr", "groups": "tensor"},
    "hidlr, AdamW": {"optimizer": "adamw", "method": "hidlr", "groups": "tensor"},
}
_PATHS = ("SGD", "AdamW", "GeN", "Hi-DLR, as printed", "hidlr, SGD", "hidlr, AdamW")


class Functions(Experiment):
    """The paper's synthetic section."""

    name = "functions"
    title = "Two-dimensional functions"
    claim = "A rate for each coordinate reaches the minimum in fewer iterations than SGD, AdamW and GeN."
    figure = "Level lines of the three functions and the ways of each method from one start."
    measures = True

    def searches(self, tier: Tier) -> list[Search]:
        """Each method from each rate; a seed moves the start of the way by up to 0.1."""
        found = []
        for function in _FUNCTIONS:
            by_optimizer: dict[str, list[RunConfig]] = {}
            for settings in _METHODS.values():
                own = by_optimizer.setdefault(settings["optimizer"], [])
                own += [
                    RunConfig(f"{function}@{_STEPS}", seed=seed, rate=rate, schedule="constant", **settings)
                    for rate in _STARTS
                    for seed in tier.seeds
                ]
            found += [
                Search(f"{self.name} {function} {name}", configs[0].pair, each(configs), len(configs))
                for name, configs in by_optimizer.items()
            ]
        return found

    def measure(self, config: RunConfig, workload: Workload) -> dict[str, Any]:
        """The first step at which f is at most 1e-6, the value then or at the end, and the way."""
        way: list[tuple[float, float]] = []
        reached, value = None, math.inf
        for moment in walk(config, workload):
            point = workload.point(moment.model)
            assert point is not None
            way.append(point)
            value = workload.loss(moment.model, ()).item()
            if value <= _GOAL:
                reached = moment.step
                break
            if not math.isfinite(value):
                break
        kept = way if len(way) <= 120 else [way[round(i)] for i in np.geomspace(1, len(way), 120) - 1]
        fine = math.isfinite(value)
        return {
            "status": "ok" if fine else "diverged",
            "steps": len(way) - 1,
            "metric": value if fine else None,
            "metrics": {"iterations": reached, "loss": value if fine else None},
            "measured": {"way": [[float(f"{x:.4g}"), float(f"{y:.4g}")] for x, y in kept]} if fine else {},
        }

    def table(self, runs: Runs) -> str:
        """Median iterations over seeds, from each starting rate."""
        cells = []
        for function in _FUNCTIONS:
            for label in _METHODS:
                counts = [_iterations(runs, function, label, rate) for rate in _STARTS]
                if not any(counts):
                    continue
                cells.append([function, label, *(_told(own) for own in counts)])
        heads = ["function", "method", *(f"started at {rate:g}" for rate in _STARTS)]
        note = (
            f"Median over seeds of the first iteration with f at most {_GOAL:g}; in brackets how many seeds got there "
            f"within {_STEPS}. A seed moves the starting point by up to 0.1 in each coordinate. Rates are constant; "
            '"as printed" is Algorithm 1 at every step, without the gates of the authors\' code.'
        )
        return table(heads, cells, note)

    def judge(self, runs: Runs) -> Verdict:
        """The paper's rule against the three others, at the starting rate that suits each best."""
        best = {
            (function, label): min((_typical(_iterations(runs, function, label, r)) for r in _STARTS), default=math.inf)
            for function in _FUNCTIONS
            for label in _METHODS
        }
        if not len(runs):
            return Verdict("not run", "no results yet")
        others = ("SGD", "AdamW", "GeN")

        def wins(labels: Sequence[str]) -> int:
            return sum(
                min(best[f, label] for label in labels) < min(best[f, label] for label in others) for f in _FUNCTIONS
            )

        printed, own = wins(["Hi-DLR, as printed", "Hi-DLR, with gates"]), wins(["hidlr, SGD", "hidlr, AdamW"])
        measured = (
            f"each at its best starting rate, the paper's rule (as printed or with gates) is first on {printed} of "
            f"{len(_FUNCTIONS)} functions, "
            f"this package's engine on {own}"
        )
        return graded(printed == len(_FUNCTIONS), printed > 0, measured)

    def draw(self, runs: Runs) -> "Figure":
        """The ways of one seed from the smallest rate, over the functions' level lines."""
        from benchmarks.paper.finder import find

        figure, axes = figures.grid(len(_FUNCTIONS), 3, height=260)
        for own, function in zip(axes, _FUNCTIONS, strict=True):
            surface = find(function).surface()
            assert surface is not None
            z = np.log10(np.array(surface.z) + 1e-3)
            own.contour(surface.x, surface.y, z, levels=8, colors=PAPER.line, linewidths=0.7)
            own.grid(visible=False)
            for index, label in enumerate(_PATHS):
                found = _of(runs, function, label, _STARTS[0])
                if found and found[0].get("measured", {}).get("way"):
                    x, y = zip(*found[0]["measured"]["way"], strict=True)
                    own.plot(
                        x, y, color=PAPER.series[index], lw=1.3, label=label, marker="." if len(x) < 30 else "", ms=4
                    )
            own.plot(*surface.minimum, "*", color=PAPER.text, ms=9)
            own.set(xlim=surface.xlim, ylim=surface.ylim)
            figures.title(own, function, "x", "y" if function == _FUNCTIONS[0] else "")
        axes[0].legend(fontsize=9, frameon=False, loc="lower left")
        return figure


def _of(runs: Runs, function: str, label: str, rate: float) -> list[Result]:
    settings = RunConfig(f"{function}@{_STEPS}", seed=0, rate=rate, schedule="constant", **_METHODS[label]).to_dict()
    del settings["seed"]
    return runs.of(**settings)


def _iterations(runs: Runs, function: str, label: str, rate: float) -> list[float]:
    found = (result["metrics"]["iterations"] for result in _of(runs, function, label, rate))
    return [math.inf if count is None else float(count) for count in found]


def _typical(counts: Sequence[float]) -> float:
    return median(counts) if counts else math.inf


def _told(counts: Sequence[float]) -> str:
    if not counts:
        return ""
    reached = sum(map(math.isfinite, counts))
    middle = _typical(counts)
    text = f"{middle:.0f}" if math.isfinite(middle) else f"> {_STEPS}"
    return text if reached == len(counts) else f"{text} ({reached} of {len(counts)})"
