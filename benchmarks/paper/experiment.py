"""What an experiment is: searches to run, and what to make of their results: a table, a figure, a verdict."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.paper.runs import Runs
from benchmarks.run import RunConfig
from benchmarks.runner import Search
from hidlr.workloads.base import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FULL", "QUICK", "REAL", "RESULTS", "Experiment", "Outcome", "Tier", "Verdict", "graded"]

RESULTS = Path(__file__).parent.parent / "results" / "paper"

Outcome = Literal["holds", "holds in part", "does not hold", "not run"]


@dataclass(frozen=True)
class Tier:
    """How much of an experiment is run.

    Attributes:
        name: folder of its results.
        seeds: that are reported; they choose nothing.
        real: the paper's own models and data, which need a network (or a cache) and a GPU.
    """

    name: str
    seeds: tuple[int, ...]
    real: bool = False

    @property
    def is_quick(self) -> bool:
        """Whether minutes must do."""
        return self.name == "quick"

    def steps(self, quick: int, full: int) -> int:
        """The length of a run in this tier."""
        return quick if self.is_quick else full


QUICK = Tier("quick", (100, 101, 102))
FULL = Tier("full", (100, 101, 102, 103, 104))
REAL = Tier("real", (100, 101, 102), real=True)


@dataclass(frozen=True)
class Verdict:
    """What results say of a claim.

    Attributes:
        outcome: in one word.
        measured: the figures behind it.
    """

    outcome: Outcome
    measured: str


def graded(whole: bool, part: bool, measured: str) -> Verdict:
    """A claim that holds, that holds in part, or that does not.

    Args:
        whole: whether it holds.
        part: whether it does in part.
        measured: the figures behind it.
    """
    return Verdict("holds" if whole else "holds in part" if part else "does not hold", measured)


class Experiment(ABC):
    """One page of the docs.

    Attributes:
        name: on the command line; of the page and of the folder of its results.
        title: of the page.
        claim: the paper's, or what its reviewers asked; with the place where it stands.
        figure: what its figure shows, for those who do not see it.
        source: the experiment whose runs it reads; "" has its own, "influence" are `benchmarks.influence`'s.
        has_real: whether `--real` runs the paper's own models and data; the others have no more than substitutes.
        measures: whether runs are done by `measure`, in this process, instead of by the benchmark's `execute`.
    """

    name: str
    title: str
    claim: str
    figure: str
    source: str = ""
    has_real: bool = False
    measures: bool = False

    @property
    def folder(self) -> str:
        """Where its results lie, under the tier's."""
        return self.source or self.name

    @abstractmethod
    def searches(self, tier: Tier) -> Sequence[Search]:
        """Everything to run."""

    @abstractmethod
    def table(self, runs: Runs) -> str:
        """Markdown."""

    @abstractmethod
    def judge(self, runs: Runs) -> Verdict:
        """The verdict, from results alone."""

    def draw(self, runs: Runs) -> "Figure | None":
        """The figure in the report's style; None if there is nothing to draw."""
        del runs
        return None

    def measure(self, config: RunConfig, workload: Workload) -> dict[str, Any]:
        """Fields to add to the result of one run, for experiments that measure more than a run's end.

        Raises:
            NotImplementedError: the experiment has none.
        """
        raise NotImplementedError
