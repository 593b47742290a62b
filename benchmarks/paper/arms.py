"""Arms of a comparison: a method with its settings, on one row; where it has several rates, tuned first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from benchmarks import peers
from benchmarks.paper.runs import TUNING, Runs
from benchmarks.reference import Goal
from benchmarks.run import Result, RunConfig
from benchmarks.runner import Search, Steps
from benchmarks.scoring.metrics import WORST_LOSS
from hidlr.workloads.base import Workload

__all__ = ["Arm", "Row", "course", "gen", "mean", "ours", "paper", "peer", "reported", "search", "uniform", "value"]

_WARMUP = 0.1
_START = 1e-4  # where hidlr and the paper's rule begin (lr): nobody's tuned rate


@dataclass(frozen=True)
class Row:
    """A task of a comparison.

    Attributes:
        workload: its name, for `benchmarks.paper.finder`.
        label: for people.
        kind: the workload's class: what its metric is called, and which way is better.
        steps: length of a run.
        optimizer: the base optimizer.
        batch: rows in a batch; 0 is the workload's own choice.
    """

    workload: str
    label: str
    kind: type[Workload]
    steps: int
    optimizer: str = "adamw"
    batch: int = 0

    def named(self, variant: str = "") -> str:
        """What the finder calls it."""
        name = f"{self.workload}-{variant}" if variant else self.workload
        return f"{name}@{self.steps}" + (f"x{self.batch}" if self.batch else "")

    @property
    def goal(self) -> Goal:
        """How runs are chosen between, by validation."""
        return Goal(self.kind.higher_is_better)


@dataclass(frozen=True)
class Arm:
    """A column of a comparison.

    Attributes:
        label: for people.
        side: "baseline" (one rate, or none of the paper's making), "ours", or "" (shown, not contested).
        method: as in `RunConfig`.
        rates: one, or those to choose from by validation on the tuning seed.
        variant: put behind the workload's name with a hyphen: the same task, trained in another way.
        schedule: as in `RunConfig`.
        warmup: as in `RunConfig`.
        groups: as in `RunConfig`.
        options: as in `RunConfig`.
        multipliers: as in `RunConfig`.
    """

    label: str
    side: str
    method: str
    rates: tuple[float, ...]
    variant: str = ""
    schedule: str = "linear"
    warmup: float = 0.0
    groups: str = ""
    options: tuple[tuple[str, float | str], ...] = ()
    multipliers: tuple[tuple[str, float], ...] = ()

    def config(self, row: Row, rate: float, seed: int) -> RunConfig:
        """One run."""
        return RunConfig(
            row.named(self.variant), row.optimizer, self.method, seed, rate, self.schedule, self.warmup,
            self.multipliers, self.groups, self.options,
        )  # fmt: skip

    def on(self, **changes: object) -> "Arm":
        """The same with other settings."""
        return replace(self, **changes)  # type: ignore[arg-type]


def uniform(label: str, rates: Sequence[float], schedule: str, *, warm: bool = True, **settings: object) -> Arm:
    """One tuned rate for all groups, warmed up (without it, it would be no strong baseline) and then by a schedule."""
    return Arm(label, "baseline", "uniform", tuple(rates), schedule=schedule, warmup=_WARMUP * warm).on(**settings)


def peer(name: str, label: str, optimizer: str = "adamw") -> Arm:
    """A published optimizer at its documented defaults."""
    found = peers.get(name)
    return Arm(label, "baseline", name, (found.rates[optimizer],), schedule=found.schedule)


def gen(**settings: object) -> Arm:
    """GeN: the paper's rule with one group."""
    return Arm("GeN", "baseline", "paper", (_START,), groups="all").on(**settings)


def paper(label: str, groups: str, **settings: object) -> Arm:
    """Algorithm 1 as printed."""
    return Arm(label, "", "paper", (_START,), groups=groups).on(**settings)


def ours(label: str, groups: str, **settings: object) -> Arm:
    """This package's engine."""
    return Arm(label, "ours", "hidlr", (_START,), groups=groups).on(**settings)


def course(row: Row, arm: Arm, seeds: Sequence[int]) -> Steps:
    """Tune where there is something to tune, then run the reported seeds; returns those results."""
    rate = arm.rates[0]
    if len(arm.rates) > 1:
        tried = yield [arm.config(row, rate, TUNING) for rate in arm.rates]
        rate = arm.rates[_best(row, tried)]
    results = yield [arm.config(row, rate, seed) for seed in seeds]
    return results


def search(experiment: str, row: Row, arm: Arm, seeds: Sequence[int]) -> Search:
    """An arm's course as the scheduler takes it."""
    tuning = len(arm.rates) if len(arm.rates) > 1 else 0
    config = arm.config(row, arm.rates[0], TUNING)
    name = f"{experiment} {config.workload} {arm.label} {row.label}"
    return Search(name, config.pair, course(row, arm, seeds), tuning + len(seeds))


def reported(row: Row, arm: Arm, runs: Runs) -> list[Result]:
    """An arm's results on reported seeds, at the rate that tuning chose; by seed."""
    tried = runs.seen(arm.config(row, rate, TUNING) for rate in arm.rates)
    rate = tried[_best(row, tried)]["config"]["rate"] if len(arm.rates) > 1 and tried else arm.rates[0]
    like = arm.config(row, rate, TUNING).to_dict()
    del like["seed"]
    return runs.of(**like)


def value(result: Result, name: str, *, higher_is_better: bool) -> float:
    """A metric at a run's end; a run that failed or diverged counts as the worst."""
    found = result["metrics"].get(name) if result["status"] == "ok" else None
    if found is None:
        return 0.0 if higher_is_better else WORST_LOSS
    return float(found)


def mean(results: Sequence[Result], name: str, *, higher_is_better: bool) -> float:
    """Over runs; nan of none."""
    values = [value(result, name, higher_is_better=higher_is_better) for result in results]
    return fmean(values) if values else math.nan


def _best(row: Row, results: Sequence[Result]) -> int:
    scores = [row.goal.score(result) for result in results]
    return scores.index(max(scores))
