"""What hidlr is held against: the best uniform rate, and what fixed factors per group could add to it.

Both are courses of runs (`benchmarks.runner.Steps`): they ask for runs and are sent results. They choose by the
workload's validation metric on the search seeds, and run their choice on fresh seeds last.
"""

import math
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from benchmarks.run import Result, RunConfig

__all__ = ["FRESH", "RATES", "SEARCH", "Chosen", "Goal", "ceiling", "search", "start_rate"]

SEARCH = (0, 1, 2)
"""Seeds that choose; the first one alone prunes."""

FRESH = (100, 101, 102, 103, 104)
"""Seeds that are reported, and choose nothing."""

RATES = tuple(float(f"{digit}e{power}") for power in range(-7, 2) for digit in (1, 3))
"""Half decades; beyond 1e-6 and 1 a search goes only where its best lies at the edge."""

_STARTS = {"adamw": 1e-3, "momentum": 1e-2, "sgd": 1e-1, "lion": 1e-4, "muon": 1e-2}
_SCHEDULES = ("linear", "cosine", "constant")
_WARMUPS = (0.0, 0.05, 0.1)
_FINALISTS = 3
_WORSE = 2  # rates in a row that are worse than the best end the exploration
_MOST = 16.0  # largest multiplier, and one over the smallest
_SETTINGS = 30
_GROUPS = range(2, 7)

Ask = Generator[Sequence[RunConfig], list[Result], Any]


@dataclass(frozen=True)
class Goal:
    """How results compare.

    Attributes:
        higher_is_better: direction of the results' metric.
    """

    higher_is_better: bool

    def score(self, result: Result) -> tuple[float, float]:
        """Larger is better; accuracies that tie are told apart by the validation loss."""
        if result["status"] != "ok":
            return -math.inf, -math.inf
        value, loss = result["metric"], result["metrics"].get("val_loss")
        return (value if self.higher_is_better else -value), (-math.inf if loss is None else -loss)

    def mean(self, results: Iterable[Result]) -> tuple[float, float]:
        """Over seeds; one that failed fails all."""
        first, second = zip(*map(self.score, results), strict=True)
        return fmean(first), fmean(second)


@dataclass(frozen=True)
class Chosen:
    """A setting and what finding it took.

    Attributes:
        config: the setting; its seed means nothing.
        value: mean of the metric over the seeds that chose it.
        runs: runs of the search; those on fresh seeds are not among them.
        seconds: training time of them.
        settings: different settings tried.
        fresh: results on the fresh seeds.
    """

    config: RunConfig
    value: float | None
    runs: int
    seconds: float
    settings: int
    fresh: tuple[Result, ...] = field(repr=False, default=())


def start_rate(optimizer: str) -> float:
    """Where a search by hand would begin (lr)."""
    return _STARTS.get(optimizer, 1e-3)


def search(workload: str, optimizer: str, goal: Goal, fresh: Sequence[int] = FRESH) -> Ask:
    """The best uniform rate, schedule and warm-up, in about 30 runs; then on the fresh seeds.

    1. Linear decay, 10% warm-up, one seed: decades outward from a guess until a run diverges or two in a row are
       worse than the best, then the half decades around the best.
    2. The best rate and its better neighbour with each schedule and warm-up, one seed.
    3. The best three settings on two more seeds: the best mean is the choice.
    """
    tried = Tried(goal)
    base = RunConfig(workload, optimizer, "uniform", SEARCH[0], start_rate(optimizer), "linear", 0.1)
    yield from _decades(base, tried)
    best = tried.best().rate
    yield from tried.ask([replace(base, rate=rate) for rate in _beside(best)])
    best = tried.best().rate
    yield from tried.ask([replace(base, rate=rate) for rate in _beside(best)])
    best = tried.best().rate
    second = max((replace(base, rate=rate) for rate in _beside(best)), key=tried.score).rate
    yield from tried.ask(
        replace(base, rate=rate, schedule=schedule, warmup=warmup)
        for rate in (best, second)
        for schedule in _SCHEDULES
        for warmup in _WARMUPS
    )
    finalists = sorted(tried.settings(), key=tried.score, reverse=True)[:_FINALISTS]
    yield from tried.ask(replace(config, seed=seed) for config in finalists for seed in SEARCH[1:])
    chosen = max(finalists, key=lambda config: tried.mean(config, SEARCH))
    return (yield from _finish(chosen, SEARCH, tried, fresh))


def ceiling(workload: str, optimizer: str, goal: Goal, fresh: Sequence[int] = FRESH) -> Ask:
    """Fixed factors per group on the best uniform rate, by coordinate search; then on the fresh seeds.

    Each group's factor is tried up and down by 4, then by 2 until a pass over the groups changes nothing, and goes
    on in a direction that helps; at most 30 settings on two seeds each. This sees the validation metric, which no
    method that is compared does.

    Returns:
        The choice; None where the model has one group, or more than six.
    """
    reference: Chosen = yield from search(workload, optimizer, goal, fresh)
    tried = Tried(goal)
    seeds = SEARCH[:2]
    best = replace(reference.config, seed=seeds[0])
    yield from tried.ask(replace(best, seed=seed) for seed in seeds)
    names = list(tried.result(best)["rates"])
    if len(names) not in _GROUPS:
        return None
    best = yield from _around(best, names, 4.0, seeds, tried)
    before = None
    while best != before and tried.left(_SETTINGS) > 0:
        before, best = best, (yield from _around(best, names, 2.0, seeds, tried))
    return (yield from _finish(best, seeds, tried, fresh))


def _around(
    best: RunConfig, names: Sequence[str], factor: float, seeds: Sequence[int], tried: "Tried"
) -> Generator[Sequence[RunConfig], list[Result], RunConfig]:
    """One pass over the groups; the best setting after it."""
    for name in names:
        directions = [factor, 1 / factor]
        while directions and tried.left(_SETTINGS) > 0:
            moves = {step: moved for step in directions if (moved := _move(best, name, step)) is not None}
            batch = list(moves.values())[: tried.left(_SETTINGS)]
            yield from tried.ask(replace(move, seed=seed) for move in batch for seed in seeds)
            better = max([best, *batch], key=lambda config: tried.mean(config, seeds))
            directions = [step for step in directions if better != best and moves.get(step) == better]
            best = better
    return best


class Tried:
    """Results of a search so far."""

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._results: dict[RunConfig, Result] = {}

    def ask(self, configs: Iterable[RunConfig]) -> Generator[Sequence[RunConfig], list[Result], None]:
        """Have runs done, those that were not."""
        batch = [config for config in dict.fromkeys(configs) if config not in self._results]
        if batch:
            results = yield batch
            self._results.update(zip(batch, results, strict=True))

    def result(self, config: RunConfig) -> Result:
        """Of a run that was done."""
        return self._results[config]

    def score(self, config: RunConfig) -> tuple[float, float]:
        """Of a run; the worst if it was not done."""
        return self._goal.score(self._results[config]) if config in self._results else (-math.inf, -math.inf)

    def mean(self, config: RunConfig, seeds: Sequence[int]) -> tuple[float, float]:
        """Of a setting over seeds."""
        return self._goal.mean(self._results[replace(config, seed=seed)] for seed in seeds)

    def best(self) -> RunConfig:
        """The best run; the first of those that tie."""
        return max(self._results, key=self.score)

    def settings(self) -> list[RunConfig]:
        """What was tried, each once, under the first seed."""
        return list(dict.fromkeys(replace(config, seed=SEARCH[0]) for config in self._results))

    def left(self, most: int) -> int:
        """How many settings may be tried still."""
        return most - len(self.settings())

    def values(self, config: RunConfig, seeds: Sequence[int]) -> list[float | None]:
        """The metric by seed."""
        return [self._results[replace(config, seed=seed)]["metric"] for seed in seeds]

    @property
    def runs(self) -> int:
        """How many."""
        return len(self._results)

    @property
    def seconds(self) -> float:
        """Training time of all."""
        return sum(float(result["seconds"]) for result in self._results.values())


def _decades(base: RunConfig, tried: Tried) -> Generator[Sequence[RunConfig], list[Result], None]:
    rates = RATES[::2]
    middle = min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / base.rate)))
    yield from tried.ask([replace(base, rate=rates[i]) for i in (middle, middle + 1, middle - 1)])
    low, high = middle - 1, middle + 1
    while True:
        scores = [tried.score(replace(base, rate=rate)) for rate in rates[low : high + 1]]
        best = scores.index(max(scores))
        up = high + 1 < len(rates) and len(scores) - 1 - best < _WORSE and math.isfinite(scores[-1][0])
        down = low > 0 and best < _WORSE
        if not (up or down):
            return
        low, high = low - down, high + up
        yield from tried.ask([replace(base, rate=rates[i]) for i in [high] * up + [low] * down])


def _beside(rate: float) -> list[float]:
    """The half decades next to a rate."""
    at = RATES.index(rate)
    return list(RATES[max(0, at - 1) : at] + RATES[at + 1 : at + 2])


def _move(config: RunConfig, group: str, factor: float) -> RunConfig | None:
    """The setting with a group's multiplier changed; None beyond the bounds."""
    multipliers = dict(config.multipliers)
    multipliers[group] = multipliers.get(group, 1.0) * factor
    if not 1 / _MOST <= multipliers[group] <= _MOST:
        return None
    kept = {name: value for name, value in multipliers.items() if value != 1}
    return replace(config, multipliers=tuple(kept.items()))


def _finish(chosen: RunConfig, seeds: Sequence[int], tried: Tried, fresh: Sequence[int]) -> Ask:
    values = tried.values(chosen, seeds)
    known = [value for value in values if value is not None]
    results = yield [replace(chosen, seed=seed) for seed in fresh]
    return Chosen(
        config=replace(chosen, seed=SEARCH[0]),
        value=fmean(known) if len(known) == len(values) else None,
        runs=tried.runs,
        seconds=round(tried.seconds, 1),
        settings=len(tried.settings()),
        fresh=tuple(results),
    )
