"""Phi, how often rates are measured: the paper's rule and this package's engine at fixed periods."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, ours, paper, reported, value
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier, Verdict, graded
from benchmarks.paper.runs import Runs
from benchmarks.paper.two_tasks import two_tasks
from benchmarks.scoring.statistics import compare

__all__ = ["Phi"]

_PERIODS = (2, 10, 50)
_PAPER = tuple(paper(f"Hi-DLR, Phi = {every}", "role", options=(("every", every),)) for every in _PERIODS)
_OURS = tuple(ours(f"hidlr, every {every}", "role", side="", options=(("every", every),)) for every in _PERIODS)
_DEFAULT = ours("hidlr, as budgeted", "role", side="")


class Phi(MethodComparison):
    """Sensitivity to the period."""

    name = "phi"
    title = "How often to measure (Phi)"
    claim = "Phi = O(K) steps between updates are enough (Algorithm 1): measuring more often gains nothing."
    figure = "Test metric for each period, with intervals."

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Two tasks with six groups."""
        return two_tasks(tier)

    def arms(self, row: Row) -> Sequence[Arm]:
        """Three periods of each rule, and ours at its default budget."""
        del row
        return (*_PAPER, *_OURS, _DEFAULT)

    def judge(self, runs: Runs) -> Verdict:
        """Phi = 10, the order of K = 6 groups, against Phi = 2, paired over seeds and tasks."""
        found = []
        for row in self._rows(runs):
            for often, seldom, label in ((_PAPER[0], _PAPER[1], "Hi-DLR"), (_OURS[0], _OURS[1], "hidlr")):
                better = row.kind.higher_is_better
                values = [
                    [value(result, row.kind.test_name, higher_is_better=better) for result in reported(row, arm, runs)]
                    for arm in (often, seldom)
                ]
                gains = [(a - b) * (1 if better else -1) for a, b in zip(*values, strict=False)]
                test = compare(gains)
                if test is not None:
                    found.append((f"{label} on {row.label}", test))
        if not found:
            return Verdict("not run", "no results yet")
        worse = [label for label, test in found if test.outcome == "win"]
        measured = "; ".join(
            f"{label}: Phi = 2 gains {test.gain:+.3g} over Phi = 10 (p {test.p:.2g})" for label, test in found
        )
        return graded(not worse, len(worse) < len(found), measured)
