"""Experiments that are rows of tasks and columns of methods: who is best on each, by how much, beyond noise or not."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.paper import figures
from benchmarks.paper.arms import Arm, Row, mean, reported, search, value
from benchmarks.paper.experiment import Experiment, Tier, Verdict, graded
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.run import Result
from benchmarks.runner import Search
from benchmarks.scoring.statistics import Comparison, Interval, compare, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Contest", "MethodComparison", "contest"]


@dataclass(frozen=True)
class Contest:
    """The best of ours against the best baseline of a row; both are chosen by validation, and compared by test.

    Attributes:
        row: the task.
        mine: our arm.
        other: the baseline.
        ahead: whether our mean is better.
        apart: whether the 95% intervals do not overlap.
        test: paired over seeds.
    """

    row: Row
    mine: Arm
    other: Arm
    ahead: bool
    apart: bool
    test: Comparison


class MethodComparison(Experiment):
    """Every arm on every row.

    Attributes:
        wanted: share of the rows on which the paper has ours ahead of every baseline.
        on_par: the claim is no more than that ours is not behind.
    """

    wanted: float = 0.8
    on_par: bool = False

    @abstractmethod
    def rows(self, tier: Tier) -> Sequence[Row]:
        """The tasks."""

    @abstractmethod
    def arms(self, row: Row) -> Sequence[Arm]:
        """The methods, baselines first."""

    def searches(self, tier: Tier) -> list[Search]:
        """Each arm tuned, where it has several rates, then run on the reported seeds."""
        return [search(self.name, row, arm, tier.seeds) for row in self.rows(tier) for arm in self.arms(row)]

    def table(self, runs: Runs) -> str:
        """A row per task, a column per arm: the test metric's mean and 95% interval over seeds."""
        rows = self._rows(runs)
        labels = list(dict.fromkeys(arm.label for row in rows for arm in self.arms(row)))
        cells = []
        for row in rows:
            figures_ = {arm.label: _interval(row, self.found(row, arm, runs)) for arm in self.arms(row)}
            best = _best_label(row, figures_)
            arrow = "↑" if row.kind.higher_is_better else "↓"
            told = [_cell(figures_.get(label), bold=label == best) for label in labels]
            cells.append([row.label, f"{row.kind.test_name} {arrow}", *told])
        return table(["task", "metric", *labels], cells, self._note(runs))

    def judge(self, runs: Runs) -> Verdict:
        """On how many rows ours is ahead of the best baseline, and on how many of these beyond the intervals."""
        found = [one for row in self._rows(runs) if (one := contest(row, self._arms(row, runs)))]
        if not found:
            return Verdict("not run", "no results yet")
        ahead, apart = [one for one in found if one.ahead], [one for one in found if one.ahead and one.apart]
        wins, losses = (sum(one.test.outcome == outcome for one in found) for outcome in ("win", "loss"))
        measured = (
            f"ahead of the best baseline on {len(ahead)} of {len(found)} tasks, intervals apart on {len(apart)}; "
            f"paired over seeds: {wins} wins, {len(found) - wins - losses} ties, {losses} losses"
        )
        expected = len(self._expected(runs))
        if len(found) < expected:
            measured += f"; {expected - len(found)} of {expected} tasks not run yet"
        if self.on_par:
            # Few seeds lose nothing significantly: half of the means must be ahead as well.
            return graded(losses == 0 and 2 * len(ahead) >= len(found), losses == 0, measured)
        enough, beyond = len(ahead) >= self.wanted * len(found), 2 * len(apart) >= len(found)
        return graded(enough and beyond, enough, measured)

    def draw(self, runs: Runs) -> "Figure | None":
        """A panel for each row: every arm's mean and interval."""
        panels = []
        for row in self._rows(runs):
            found = [(arm, self.found(row, arm, runs)) for arm in self.arms(row)]
            lines = [
                figures.Bar(arm.label, *_ends(row, results), ours=arm.side == "ours")
                for arm, results in found
                if results
            ]
            panels.append(figures.Bars(row.label, row.kind.test_name, lines))
        return figures.bars(panels) if any(panel.lines for panel in panels) else None

    def found(self, row: Row, arm: Arm, runs: Runs) -> list[Result]:
        """An arm's results on reported seeds."""
        return reported(row, arm, runs)

    def _arms(self, row: Row, runs: Runs) -> list[tuple[Arm, list[Result]]]:
        return [(arm, self.found(row, arm, runs)) for arm in self.arms(row)]

    def _rows(self, runs: Runs) -> list[Row]:
        return [row for row in self._expected(runs) if any(results for _, results in self._arms(row, runs))]

    def _expected(self, runs: Runs) -> Sequence[Row]:
        from benchmarks.paper.registry import TIERS

        return self.rows(TIERS[runs.tier])

        rows = self.rows(TIERS[runs.tier])
        return [row for row in rows if any(self.found(row, arm, runs) for arm in self.arms(row))]

    def _note(self, runs: Runs) -> str:
        seeds = sorted({result["config"]["seed"] for result in runs.of()})
        failed = sum(result["status"] != "ok" for result in runs.of())
        return (
            f"Mean ± 95% interval (Student's t) over seeds {seeds[0]} to {seeds[-1]}; rates were chosen on another "
            f"seed by validation. Runs that diverged: {failed} of {len(runs.of())}."
            if seeds
            else ""
        )


def contest(row: Row, known: Sequence[tuple[Arm, Sequence[Result]]]) -> Contest | None:
    """The best of ours against the best baseline; None where either was not run, or on one seed alone.

    Args:
        row: the task.
        known: arms with their results on reported seeds.
    """
    better = row.kind.higher_is_better
    sides: dict[str, tuple[Arm, Sequence[Result]]] = {}
    for side in ("ours", "baseline"):
        found = [(arm, results) for arm, results in known if arm.side == side and results]
        if not found:
            return None
        scored = [mean(results, row.kind.metric_name, higher_is_better=better) for _, results in found]
        sides[side] = found[scored.index(max(scored) if better else min(scored))]
    (mine, own), (other, theirs) = sides["ours"], sides["baseline"]
    by_seed = [
        {r["config"]["seed"]: value(r, row.kind.test_name, higher_is_better=better) for r in results}
        for results in (own, theirs)
    ]
    sign = 1 if better else -1
    gains = [sign * (by_seed[0][seed] - by_seed[1][seed]) for seed in by_seed[0] if seed in by_seed[1]]
    test = compare(gains)
    if test is None:
        return None
    one, two = (interval(list(values.values())) for values in by_seed)
    return Contest(row, mine, other, test.gain > 0, abs(one.mean - two.mean) > one.half + two.half, test)


def _interval(row: Row, results: Sequence[Result]) -> Interval | None:
    values = [value(r, row.kind.test_name, higher_is_better=row.kind.higher_is_better) for r in results]
    return interval(values) if values else None


def _ends(row: Row, results: Sequence[Result]) -> tuple[float, float]:
    found = _interval(row, results)
    assert found is not None
    return found.mean, found.half


def _best_label(row: Row, found: dict[str, Interval | None]) -> str:
    means = {label: one.mean for label, one in found.items() if one is not None}
    return (max if row.kind.higher_is_better else min)(means, key=lambda label: means[label]) if means else ""


def _cell(found: Interval | None, *, bold: bool) -> str:
    if found is None:
        return ""
    return f"**{found}**" if bold else str(found)
