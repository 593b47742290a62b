"""Which runs are what: the reference, ours, the ceiling, the peers."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.scoring.load import RESULTS, Config, Pair, Run, load_runs
from benchmarks.scoring.metrics import Metric, expected_pairs, metric_of
from benchmarks.scoring.statistics import Comparison, compare

__all__ = ["FINAL_SEEDS", "LOW", "STARTS", "Results", "by_seed", "by_start", "common", "contest", "load_results"]

FINAL_SEEDS = range(100, 105)  # run once, with everything chosen; lower seeds did the choosing
STARTS = (1e-6, 1e-4, 1e-2)
LOW = (("overhead", 0.02),)
_OURS_AND_UNIFORM = ("hidlr", "uniform")


@dataclass(frozen=True)
class Results:
    """All runs, and what is needed to judge them.

    Attributes:
        runs: in any order.
        metrics: by workload.
        rules: names of the methods that put ratios between groups on the tuned uniform rate.
        expected: pairs that must have results before a target about all pairs can pass.
    """

    runs: tuple[Run, ...]
    metrics: Mapping[str, Metric]
    rules: frozenset[str] = frozenset()
    expected: tuple[Pair, ...] = ()

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Those expected, then any others with runs."""
        return tuple(dict.fromkeys([*self.expected, *sorted(self._of)]))

    @cached_property
    def _of(self) -> Mapping[Pair, list[Run]]:
        found: dict[Pair, list[Run]] = defaultdict(list)
        for run in self.runs:
            found[run.config.pair].append(run)
        return found

    def metric(self, pair: Pair) -> Metric:
        """The metric of a pair that has runs."""
        return self.metrics[pair.workload]

    def of(self, pair: Pair) -> Sequence[Run]:
        """Every run of a pair."""
        return self._of.get(pair, ())

    def final(self, pair: Pair) -> list[Run]:
        """A pair's runs on seeds that chose nothing."""
        return [run for run in self.of(pair) if run.config.seed in FINAL_SEEDS]

    def ours(
        self,
        pair: Pair,
        *,
        options: tuple[tuple[str, float | str], ...] = (),
        groups: str = "",
        schedule: str = "linear",
        starts: Sequence[float] = STARTS,
    ) -> list[Run]:
        """hidlr's runs: at its defaults where nothing is said."""
        wanted = (options, groups, schedule, ())
        return [
            run
            for run in self.final(pair)
            if run.config.method == "hidlr" and run.config.rate in starts and _variant(run.config) == wanted
        ]

    def reference(self, pair: Pair) -> list[Run]:
        """The tuned uniform rate's runs."""
        return self._chosen(pair, lambda config: not config.multipliers)

    def ceiling(self, pair: Pair) -> list[Run]:
        """The runs of hand-searched multipliers on top of the tuned uniform rate."""
        return self._chosen(pair, lambda config: bool(config.multipliers))

    def search(self, pair: Pair) -> list[Run]:
        """The runs that chose the reference: what a user saves."""
        return [
            run
            for run in self.of(pair)
            if run.config.method == "uniform" and not run.config.multipliers and run.config.seed not in FINAL_SEEDS
        ]

    def peers(self, pair: Pair) -> dict[str, list[Run]]:
        """The runs of every method that had no tuned rate, by its name; the paper's with one group is gen."""
        found: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
        for run in self.final(pair):
            config = run.config
            if config.method in {*_OURS_AND_UNIFORM, *self.rules} or config.options or config.other:
                continue
            name = "gen" if config.method == "paper" and config.groups == "all" else config.method
            if name == "gen" or not config.groups:
                found[name][config.schedule].append(run)
        # Under one schedule: linear decay, as ours has, where the method was run with it.
        return {name: runs.get("linear") or next(iter(runs.values())) for name, runs in sorted(found.items())}

    def heuristics(self, pair: Pair) -> dict[str, list[Run]]:
        """The runs of rules of thumb on the tuned uniform rate, by name: neither peers without a rate, nor searched."""
        found: dict[str, list[Run]] = defaultdict(list)
        settings = {_setting(run.config) for run in self.reference(pair)}
        for run in self.final(pair):
            if run.config.method in self.rules and _setting(run.config) in settings:
                found[run.config.method].append(run)
        return dict(sorted(found.items()))

    def _chosen(self, pair: Pair, is_one: Callable[[Config], bool]) -> list[Run]:
        """The setting run on the final seeds; of several (a search done anew) the one that is harder to beat."""
        settings: dict[tuple[object, ...], list[Run]] = defaultdict(list)
        for run in self.final(pair):
            config = run.config
            if config.method == "uniform" and not config.groups and not config.other and is_one(config):
                settings[*_setting(config), config.multipliers].append(run)
        metric = self.metrics.get(pair.workload)
        if not settings or metric is None:
            return []

        def merit(runs: list[Run]) -> tuple[int, float]:
            return len(runs), metric.gain(statistics.fmean(metric.value(run) for run in runs), metric.worst)

        return max(settings.values(), key=merit)


def load_results(folder: Path | None = None, suite: str = "main") -> Results:
    """The results in a folder (the suite's), with what the workloads' classes say of their metrics."""
    from benchmarks.peers import HEURISTICS

    runs = load_runs(folder or RESULTS[suite])
    metrics = {name: metric_of(name) for name in dict.fromkeys(run.config.workload for run in runs)}
    return Results(runs, metrics, frozenset(HEURISTICS), expected_pairs(suite))


def by_seed(runs: Iterable[Run], metric: Metric) -> dict[int, float]:
    """The metric by seed, a mean over starting rates where there are several."""
    found: dict[int, list[float]] = defaultdict(list)
    for run in runs:
        found[run.config.seed].append(metric.value(run))
    return {seed: statistics.fmean(values) for seed, values in sorted(found.items())}


def by_start(runs: Iterable[Run]) -> dict[float, list[Run]]:
    """Runs by starting rate, ascending."""
    found: dict[float, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.config.rate].append(run)
    return dict(sorted(found.items()))


def common(mine: Mapping[int, float], others: Mapping[int, float]) -> list[int]:
    """Seeds that both have."""
    return sorted(set(mine) & set(others))


def contest(mine: Iterable[Run], others: Iterable[Run], metric: Metric) -> Comparison | None:
    """Ours against others on the seeds that both have; None for fewer than two."""
    ours, theirs = by_seed(mine, metric), by_seed(others, metric)
    return compare([metric.gain(ours[seed], theirs[seed]) for seed in common(ours, theirs)])


def _setting(config: Config) -> tuple[object, ...]:
    return config.rate, config.schedule, config.warmup


def _variant(config: Config) -> tuple[object, ...]:
    return config.options, config.groups, config.schedule, config.other
