"""How many groups, and which: one, roles, layers, tensors, and random partitions with as many tensors as the roles."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, ours, reported, uniform, value
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier, Verdict, graded
from benchmarks.paper.runs import Runs
from benchmarks.paper.two_tasks import two_tasks
from benchmarks.scoring.statistics import compare

__all__ = ["Grouping"]

_ONE = ours("hidlr one group", "all", side="")
_ROLES = ours("hidlr role", "role")
_RANDOM = tuple(ours(f"hidlr random {deal}", f"random-{deal}", side="") for deal in (1, 2))
_ARMS = (
    uniform("linear", (1e-3, 3e-3, 1e-2), "linear", groups="all"),
    _ONE,
    _ROLES,
    *_RANDOM,
    ours("hidlr layer", "layer", side=""),
    ours("hidlr tensor", "tensor", side=""),
)


class Grouping(MethodComparison):
    """Sensitivity to the groups."""

    name = "grouping"
    title = "Number of groups, and which"
    claim = "Implied: what the groups are matters; roles are better than one group, and than random partitions."
    figure = "Test metric for each grouping, with intervals."

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Two tasks."""
        return two_tasks(tier, "partition-")

    def arms(self, row: Row) -> Sequence[Arm]:
        """From one group to one for each tensor, and a tuned uniform rate."""
        del row
        return _ARMS

    def judge(self, runs: Runs) -> Verdict:
        """Roles against one group and against the random partitions, paired over seeds."""
        outcomes, told = [], []
        for row in self._rows(runs):
            better = row.kind.higher_is_better
            by_arm = {
                arm.label: [value(r, row.kind.test_name, higher_is_better=better) for r in reported(row, arm, runs)]
                for arm in _ARMS
            }
            mine = by_arm[_ROLES.label]
            for label, others in (("one group", [_ONE]), ("random", _RANDOM)):
                theirs = [by_arm[arm.label] for arm in others if len(by_arm[arm.label]) == len(mine)]
                means = [sum(values) / len(values) for values in zip(*theirs, strict=True)]
                test = compare([(a - b) * (1 if better else -1) for a, b in zip(mine, means, strict=False)])
                if test is not None:
                    outcomes.append(test.outcome)
                    told.append(f"{row.label}: {test.gain:+.3g} over {label} (p {test.p:.2g})")
        if not outcomes:
            return Verdict("not run", "no results yet")
        wins = outcomes.count("win")
        return graded(wins == len(outcomes), wins > 0, "roles gain, on " + "; ".join(told))
