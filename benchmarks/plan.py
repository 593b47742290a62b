"""What there is to run: pairs of workload and base optimizer, and the stages of the benchmark for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks import peers
from benchmarks.reference import FRESH, SEARCH, Chosen, Goal, ceiling, search
from benchmarks.run import Finder, RunConfig
from benchmarks.runner import Search, Steps, each
from benchmarks.scoring.metrics import expected_pairs, metric_of
from benchmarks.workloads import get as get_workload

__all__ = ["FRESH", "QUICK", "STAGES", "STARTS", "Order", "Pair", "goal_of", "pairs", "plan"]

Pair = tuple[str, str]
"""Names of a workload and a base optimizer."""

STARTS = (1e-6, 1e-4, 1e-2)
"""Where hidlr starts (lr): two decades too low for most, about right for some, too high for some."""

QUICK = ("digits-vit", "shakespeare-gpt", "synthetic-nam", "digits-softmax", "cancer-logistic", "rosenbrock")
"""Workloads of the quick tier: each kind once, and none that needs a large file."""

_QUICK_STARTS, _QUICK_SEEDS = (1e-4,), FRESH[:2]
_VARIANT_STARTS = (1e-4,)
_MANY = ("shakespeare-gpt", "adamw")
_LOW = (("overhead", 0.02),)
_SEARCH_RUNS, _CEILING_RUNS = 33, 60  # about


@dataclass(frozen=True)
class Order:
    """What of the benchmark is asked for.

    Attributes:
        stages: names in `STAGES`.
        suite: of workloads, one of `SUITES`.
        workloads: only these; empty means all.
        optimizers: only these; empty means all.
        methods: only these of the peers and heuristics; empty means all.
        seeds: that figures are reported from.
        starts: where hidlr starts; None: all three, one for its variants.
        data: the data folder.
        find: where workloads come from.
    """

    stages: tuple[str, ...] = ("reference", "hidlr")
    suite: str = "main"
    workloads: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = FRESH
    starts: tuple[float, ...] | None = None
    data: Path | None = None
    find: Finder = get_workload

    def quick(self) -> "Order":
        """Ours alone, on a few workloads, from one start on two seeds: the references are stored ones."""
        return replace(
            self,
            workloads=tuple(name for name in QUICK if name in (self.workloads or QUICK)),
            seeds=_QUICK_SEEDS,
            starts=self.starts or _QUICK_STARTS,
        )


def pairs(order: Order) -> list[Pair]:
    """Each workload with the base optimizers that it is benchmarked with, those that are asked for."""
    return [
        (pair.workload, pair.optimizer)
        for pair in expected_pairs(order.suite)
        if pair.workload in (order.workloads or [pair.workload])
        and pair.optimizer in (order.optimizers or [pair.optimizer])
    ]


def goal_of(workload: str) -> Goal:
    """What a workload's searches go by."""
    metric = metric_of(workload)
    return Goal(metric.higher_is_better)


def plan(order: Order) -> list[Search]:
    """The searches of every stage, one workload's after the other."""
    firsts: dict[str, Pair] = {}
    for pair in pairs(order):
        firsts.setdefault(pair[0], pair)
    found: list[Search] = []
    for workload, first in firsts.items():
        own = [pair for pair in pairs(order) if pair[0] == workload]
        for stage in order.stages:
            for pair in own:
                found += STAGES[stage](order, pair, pair == first)
    return found


# -- stages: searches of a pair; `first` says whether it is the workload's first ----------------------


def _reference(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    del first
    steps = _course(search, order, pair)
    yield Search(f"{_named(pair)} reference", pair, steps, _SEARCH_RUNS + len(order.seeds))


def _ceiling(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    del first
    steps = _course(ceiling, order, pair)
    yield Search(f"{_named(pair)} ceiling", pair, steps, _SEARCH_RUNS + _CEILING_RUNS + 2 * len(order.seeds))


def _hidlr(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    del first
    yield _fixed(f"{_named(pair)} hidlr", pair, _ours(order, pair, order.starts or STARTS))


def _peers(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    """The paper's algorithm, GeN (the same with one group) and every published optimizer that fits."""
    del first
    configs: list[RunConfig] = []
    if _wanted(order, "paper"):
        configs += _ours(order, pair, order.starts or STARTS, method="paper")
    if _wanted(order, "gen"):
        configs += _ours(order, pair, order.starts or STARTS, method="paper", groups="all")
    for name in peers.names(pair[1]):
        if _wanted(order, name):
            peer = peers.get(name)
            rate = peer.rates[pair[1]]
            configs += [RunConfig(*pair, name, seed, rate, peer.schedule) for seed in order.seeds]
    if configs:
        yield _fixed(f"{_named(pair)} peers", pair, configs)


def _heuristics(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    """Published ratios between groups, at the tuned uniform rate."""
    del first
    names = [name for name in peers.HEURISTICS if _wanted(order, name)]
    if names:
        estimate = _SEARCH_RUNS + (1 + len(names)) * len(order.seeds)
        yield Search(f"{_named(pair)} heuristics", pair, _ratios(order, pair, names), estimate)


def _many_groups(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    """One group on each workload; on one of them every grouping that there is."""
    schemes = ("all", "layer", "tensor") if pair == _MANY else ("all",) if first else ()
    starts = order.starts or STARTS
    configs = [config for groups in schemes for config in _ours(order, pair, starts, groups=groups)]
    if configs:
        yield _fixed(f"{_named(pair)} groupings", pair, configs)


def _low_overhead(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    del first
    yield _fixed(
        f"{_named(pair)} low overhead", pair, _ours(order, pair, order.starts or _VARIANT_STARTS, options=_LOW)
    )


def _schedules(order: Order, pair: Pair, first: bool) -> Iterator[Search]:
    """Other schedules, and an end that is not known beforehand."""
    starts = order.starts or _VARIANT_STARTS
    if first:
        configs = [
            *_ours(order, pair, starts, schedule="cosine"),
            *_ours(order, pair, starts, schedule="constant"),
            *_ours(order, pair, starts, schedule="constant", options=(("total_steps", "unknown"),)),
        ]
        yield _fixed(f"{_named(pair)} schedules", pair, configs)


Stage = Callable[[Order, Pair, bool], Iterator[Search]]

STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "reference": _reference,
        "hidlr": _hidlr,
        "ceiling": _ceiling,
        "peers": _peers,
        "heuristics": _heuristics,
        "many-groups": _many_groups,
        "low-overhead": _low_overhead,
        "schedules": _schedules,
    }
)
"""Every stage by name."""


def _course(course: Callable[..., Steps], order: Order, pair: Pair) -> Steps:
    # Within the course, so that a workload whose packages are absent is the search's problem alone.
    return (yield from course(*pair, goal_of(pair[0]), order.seeds))


def _ratios(order: Order, pair: Pair, names: Sequence[str]) -> Steps:
    chosen: Chosen = yield from _course(search, order, pair)
    # Which rules speak of a model can only be told from the model.
    model = order.find(pair[0], order.data).build(SEARCH[0])
    return (
        yield [
            replace(chosen.config, method=name, seed=seed)
            for name in names
            if peers.HEURISTICS[name].on(model)
            for seed in order.seeds
        ]
    )


def _ours(
    order: Order, pair: Pair, starts: Sequence[float], *, method: str = "hidlr", **settings: Any
) -> list[RunConfig]:
    return [RunConfig(*pair, method, seed, start, **settings) for start in starts for seed in order.seeds]


def _fixed(name: str, pair: Pair, configs: Sequence[RunConfig]) -> Search:
    return Search(name, pair, each(configs), len(configs))


def _named(pair: Pair) -> str:
    return " ".join(pair)


def _wanted(order: Order, method: str) -> bool:
    return not order.methods or method in order.methods
