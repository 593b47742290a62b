"""What a run came to."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hidlr.history import History
from hidlr.influence import Influence
from hidlr.training.config import RunConfig
from hidlr.training.session import Session
from hidlr.workloads import Surface

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """The end of a run.

    Attributes:
        config: its settings, resolved.
        final: every metric at the end.
        metric_name: the entry of `final` that chooses between runs.
        test_name: the entry to report beside it.
        higher_is_better: direction of both.
        rates: rate of each group at the end, after the schedule (lr).
        steps: steps done.
        seconds: training time, probes included, evaluations and files not.
        cpu_seconds: the processor's part of it, over all threads; unlike `seconds` the same on a busy
            machine, and no measure of a GPU's work.
        probe_seconds: the probes' part of `seconds`.
        diverged_at: the step whose loss was not finite, which ended the run; None if none was.
        influence: of each group, from the probes.
        history: the probes.
        summary: a table of groups, or None for a uniform rate.
        surface: what was descended, for functions of two variables.
        path: the run folder, if there is one.
        problems: what could not be written to it, one sentence each.
    """

    config: RunConfig
    final: dict[str, float]
    metric_name: str
    test_name: str
    higher_is_better: bool
    rates: dict[str, float]
    steps: int
    seconds: float
    cpu_seconds: float
    probe_seconds: float
    diverged_at: int | None
    influence: Influence
    history: History = field(repr=False)
    summary: object = field(repr=False)
    surface: Surface | None = field(repr=False)
    path: Path | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, session: Session, final: dict[str, float]) -> "Result":
        """The result of a finished session."""
        history = session.control.history
        return cls(
            config=session.config,
            final=final,
            metric_name=session.workload.metric_name,
            test_name=session.workload.test_name,
            higher_is_better=session.workload.higher_is_better,
            rates=dict(session.control.rates),
            steps=session.step,
            seconds=session.seconds,
            cpu_seconds=session.cpu_seconds,
            probe_seconds=session.probe_seconds,
            diverged_at=session.diverged_at,
            influence=Influence.from_records(history).located(session.model, session.optimizer.param_groups),
            history=history,
            summary=session.control.summary(),
            surface=session.workload.surface(),
        )

    def at(self, path: Path | None, problems: tuple[str, ...]) -> "Result":
        """The same, and where it was written."""
        return replace(self, path=path, problems=problems)

    @property
    def score(self) -> float:
        """The metric that chooses between runs."""
        return self.final[self.metric_name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `result.json`."""
        return {
            "workload": self.config.workload,
            "final": self.final,
            "metric_name": self.metric_name,
            "test_name": self.test_name,
            "higher_is_better": self.higher_is_better,
            "rates": self.rates,
            "steps": self.steps,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "probe_seconds": self.probe_seconds,
            "diverged_at": self.diverged_at,
            "comparison": [],
            "surface": asdict(self.surface) if self.surface is not None else None,
        }
