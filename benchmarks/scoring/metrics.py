"""What a workload's metric means: direction, steps it comes in, and what a run that failed counts as."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.scoring.load import Pair, Run

if TYPE_CHECKING:
    from hidlr.workloads.base import Workload

__all__ = ["WORST_LOSS", "Metric", "expected_pairs", "metric_of"]

WORST_LOSS = 1e6  # bounded, so that a mean over seeds still says how many of them failed


@dataclass(frozen=True)
class Metric:
    """The metric that verdicts are made with.

    Attributes:
        name: the entry of the workload's evaluation.
        higher_is_better: its direction.
        granularity: the smallest change that it can show (one example right instead of wrong); 0 if continuous.
        chance: what a model scores that learned nothing; used where higher is better.
    """

    name: str
    higher_is_better: bool
    granularity: float = 0.0
    chance: float = 0.0

    @property
    def worst(self) -> float:
        """What a run that diverged, or failed, counts as."""
        if self.higher_is_better:
            return min(0.0, self.chance)
        return math.log10(WORST_LOSS) if self.name.startswith("log10") else WORST_LOSS

    @property
    def is_ratio(self) -> bool:
        """Compared by a ratio in tables (losses); scores and logarithms are by a difference."""
        return not self.higher_is_better and not self.name.startswith("log")

    def value(self, run: Run) -> float:
        """A run's metric, the worst where it diverged."""
        if run.diverged:
            return self.worst
        return run.metric if self.higher_is_better else min(run.metric, self.worst)

    def gain(self, mine: float, other: float) -> float:
        """How much better `mine` is than `other`: positive is better, whatever the direction."""
        return mine - other if self.higher_is_better else other - mine

    def initial(self, runs: Iterable[Run]) -> float:
        """About the metric before training: chance, or the median loss of the runs' first steps."""
        if self.higher_is_better:
            return self.chance
        first = sorted(run.curve[0][1] for run in runs if run.curve and math.isfinite(run.curve[0][1]))
        if not first:
            return math.nan
        loss = first[len(first) // 2]
        if self.name.startswith("log10"):
            return math.log10(loss) if loss > 0 else math.nan
        return loss


def metric_of(workload: str) -> Metric:
    """What the workload's class says of its metric; nothing is constructed, and no data is read.

    Raises:
        ValueError: no such workload is registered: a wrong guess of the direction would turn verdicts round.
    """
    cls = _class(workload)
    return Metric(
        cls.metric_name,
        cls.higher_is_better,
        granularity=getattr(cls, "granularity", 0.0),
        chance=getattr(cls, "chance", 0.0),
    )


def expected_pairs(suite: str = "main") -> tuple[Pair, ...]:
    """Each workload of a suite with each optimizer that it is benchmarked with."""
    from benchmarks import workloads

    return tuple(Pair(name, optimizer) for name in workloads.SUITES[suite] for optimizer in _optimizers(name))


def _optimizers(workload: str) -> tuple[str, ...]:
    try:
        optimizers: tuple[str, ...] = getattr(_class(workload), "optimizers", ("adamw",))
    except ImportError:
        return ("adamw",)  # a package is absent here; AdamW is run on every workload
    return optimizers


def _class(workload: str) -> "type[Workload]":
    from benchmarks import workloads

    if workload not in workloads.names():
        raise ValueError(f"results of an unknown workload {workload!r}: register it in benchmarks/workloads, or delete")
    return workloads.class_of(workload)
