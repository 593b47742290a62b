"""Per-parameter influence over roles and layers: heat maps, how they agree across tasks, and with the truth.

The runs are `benchmarks.influence`'s: this reads what they have written.
"""

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.influence.tasks import FOLDER, spearman
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.runner import Search
from hidlr.influence import Influence
from hidlr.reports import heat_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["InfluenceMaps", "agreements", "decades"]

_MOMENT = "5%"  # of the run: at its very start most groups cannot be measured


class InfluenceMaps(Experiment):
    """The paper's section 5.

    Args:
        folder: of `benchmarks.influence`'s results.
    """

    name = "influence"
    title = "Influence (PPI) maps and adaptive PEFT"
    claim = "PPI differs by about 10^4 between groups; which groups are high differs by task and model (section 5)."
    figure = "Heat maps of influence per parameter by role and layer, one for each model."
    source = "influence"

    def __init__(self, results: Path = FOLDER) -> None:
        self._results = results

    def searches(self, tier: Tier) -> Sequence[Search]:
        """None: `python -m benchmarks.influence.stability` and its neighbours do them, resumably."""
        del tier
        return ()

    def table(self, runs: Runs) -> str:
        """Span of the influence of each task; rank correlations between tasks; with the truth; adaptive PEFT."""
        del runs
        maps = self._maps()
        spans = [
            [
                task,
                str(len(own)),
                str(len(own[0].ppi)),
                f"{median(decades(one) for one in own):.1f}",
                _lowest_highest(own[0]),
            ]
            for task, own in maps.items()
        ]
        parts = [
            table(["model and task", "seeds", "groups", "decades, median", "highest and lowest, first seed"], spans),
            table(
                ["rank correlation", "of groups", "Spearman, median over seeds"],
                [[f"{a}, {b}", str(count), f"{value:.2f}"] for (a, b), (value, count) in agreements(maps).items()],
                "Over the groups (role within layer) that both have; a task with itself is its seeds with each other.",
            ),
        ]
        truth = self._read("alone")
        if truth:
            rows = [[t, f"{own['spearman']:.2f}"] for t, own in truth["tasks"].items() if "spearman" in own]
            parts.append(table(["against the fall of the loss when a group alone is trained", "Spearman"], rows))
        parts.append(self._adaptive())
        return "\n\n".join(
            [
                *parts,
                "Results: `benchmarks/results/influence`; again: `python -m benchmarks.influence.stability`, `.alone`, "
                "`.adaptive`; more of them: [influence](../influence.md).",
            ]
        )

    def judge(self, runs: Runs) -> Verdict:
        """Decades between groups, and whether tasks disagree more than seeds do."""
        del runs
        maps = self._maps()
        if not maps:
            return Verdict("not run", "no results yet")
        spans = {task: median(decades(one) for one in own) for task, own in maps.items()}
        found = agreements(maps)
        within = [value for (a, b), (value, _) in found.items() if a == b]
        between = [value for (a, b), (value, _) in found.items() if a != b]
        measured = (
            f"groups span {min(spans.values()):.1f} to {max(spans.values()):.1f} decades; rank correlation "
            f"{median(within):.2f} between seeds of a task, {median(between):.2f} between models and tasks"
            if within and between
            else f"groups span {min(spans.values()):.1f} to {max(spans.values()):.1f} decades"
        )
        wide = max(spans.values()) >= 4
        differs = bool(within and between and median(between) < median(within))
        return graded(wide and differs, wide or differs, measured)

    def draw(self, runs: Runs) -> "Figure | None":
        """The first seed's maps side by side."""
        del runs
        maps = {task: own[0] for task, own in self._maps().items()}
        return heat_figure(maps) if maps else None

    def _maps(self) -> dict[str, list[Influence]]:
        found = {}
        for task, own in (self._read("stability") or {"tasks": {}})["tasks"].items():
            measured = own["measured"]
            maps = [Influence.from_dict(v) for key, v in measured.items() if key.endswith(f", {_MOMENT}")]
            if maps:
                found[task] = maps
        return found

    def _adaptive(self) -> str:
        data = self._read("adaptive")
        if not data:
            return "Adaptive PEFT beside known methods: no results yet (`python -m benchmarks.influence.adaptive`)."
        rows = []
        reported = [run for run in data["runs"] if run["seed"] in data["seeds"]]
        for task, method in dict.fromkeys((run["task"], run["method"]) for run in reported):
            own = [run for run in reported if (run["task"], run["method"]) == (task, method)]
            metric = "test_accuracy" if task.endswith("sst2") else "test_mcc"
            values = [run[metric] for run in own]
            share = own[0]["trained"] / own[0]["of"]
            rows.append([task, method, f"{share:.2%}", f"{metric} {sum(values) / len(values):.3f}", str(len(own))])
        return table(["adaptive PEFT: task", "method", "of parameters", "mean", "seeds"], rows)

    def _read(self, name: str) -> dict[str, Any] | None:
        path = self._results / f"{name}.json"
        found: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        return found


def decades(influence: Influence) -> float:
    """Orders of magnitude between the highest and the lowest positive influence."""
    positive = [value for value in influence.ppi.values() if value > 0]
    return math.log10(max(positive) / min(positive)) if positive else 0.0


def agreements(maps: dict[str, list[Influence]]) -> dict[tuple[str, str], tuple[float, int]]:
    """Rank correlation of each pair of tasks over their common groups, median over seeds, and how many groups.

    Args:
        maps: by task, one for each seed.
    """
    found = {}
    for a, b in itertools.combinations_with_replacement(maps, 2):
        pairs = itertools.combinations(maps[a], 2) if a == b else itertools.product(maps[a], maps[b])
        values, counts = [], []
        for one, other in pairs:
            names = [name for name in one.ppi if name in other.ppi]
            if len(names) > 2:
                values.append(spearman([one.ppi[name] for name in names], [other.ppi[name] for name in names]))
                counts.append(len(names))
        if values:
            found[a, b] = (median(values), min(counts))
    return found


def _lowest_highest(influence: Influence) -> str:
    ranked = sorted(influence.ppi, key=lambda name: influence.ppi[name])
    return f"{ranked[-1]}, {ranked[0]}"
