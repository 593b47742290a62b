"""Many tasks at once, a head and a group for each: 28 emotions in place of CelebA's 40 attributes."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, gen, ours, peer, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.finder import kind

__all__ = ["Multitask"]

_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
_ARMS = (
    uniform("constant", _RATES, "constant", groups="all"),
    uniform("linear", _RATES, "linear", groups="all"),
    uniform("cosine", _RATES, "cosine", groups="all"),
    gen(),
    peer("prodigy", "Prodigy"),
    peer("dadapt", "D-Adaptation"),
    ours("hidlr one group", "all", side=""),
    ours("hidlr a group per task", "task"),
)


class Multitask(MethodComparison):
    """The paper's CelebA section."""

    name = "multitask"
    title = "Multi-task learning"
    claim = "With a group for each task's head Hi-DLR is ahead of uniform rates on the mean over tasks (CelebA)."
    figure = "Mean average precision of each method, with intervals."
    wanted = 1.0
    has_real = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """GoEmotions on MiniLM's sentence vectors; with `--real` CelebA and ResNet-18."""
        if tier.real:
            from benchmarks.paper.workloads.celeba import CelebA

            return [Row("real-celeba", "CelebA, ResNet-18", CelebA, 5000)]
        emotions = kind("goemotions-multitask")
        return [Row("goemotions-multitask", "28 emotions", emotions, tier.steps(200, 600))]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Schedules, methods that set their own rate, and ours."""
        del row
        return _ARMS
