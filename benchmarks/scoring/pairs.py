"""A row per pair: the reference, ours, the peers, the ceiling, and the verdict."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.scoring.load import Pair, Run
from benchmarks.scoring.metrics import Metric
from benchmarks.scoring.results import Results, by_seed, by_start, common, contest
from benchmarks.scoring.statistics import Comparison, Interval, interval

__all__ = ["Figure", "PairRow", "ceiling_share", "pair_rows"]


@dataclass(frozen=True)
class Figure:
    """A method's metric: over seeds, with starting rates averaged.

    Attributes:
        value: mean and 95% interval; runs that diverged count as the worst value.
        diverged: runs that did.
        runs: all runs.
    """

    value: Interval
    diverged: int
    runs: int

    def __str__(self) -> str:
        if self.diverged == self.runs:
            return "diverged"
        return str(self.value) + (f" ({self.diverged} of {self.runs} diverged)" if self.diverged else "")


@dataclass(frozen=True)
class PairRow:
    """What there is about a pair; None or empty where it was not run.

    Attributes:
        setting: the reference's, in words.
        starts: hidlr by starting rate.
        pooled: hidlr over all of them.
        peers: by name.
        heuristics: ratios by a rule of thumb on the reference's setting, by name.
        against: hidlr against the reference, as a ratio (losses) or a difference (scores), in words.
        verdict: paired test against the reference.
        multipliers: the ceiling's, by group.
        ceiling_verdict: the ceiling against the reference.
        share: hidlr's gain over the ceiling's, where that is significant.
        searched: runs that chose the reference.
        search_seconds: what they took.
    """

    pair: Pair
    metric: Metric
    setting: str
    reference: Figure | None
    starts: Mapping[float, Figure]
    pooled: Figure | None
    peers: Mapping[str, Figure]
    heuristics: Mapping[str, Figure]
    against: str
    verdict: Comparison | None
    multipliers: tuple[tuple[str, float], ...]
    ceiling: Figure | None
    ceiling_verdict: Comparison | None
    share: float | None
    searched: int
    search_seconds: float

    @property
    def best_peer(self) -> tuple[str, Figure] | None:
        """The peer with the best mean."""
        if not self.peers:
            return None
        return max(self.peers.items(), key=lambda item: self.metric.gain(item[1].value.mean, self.metric.worst))


def pair_rows(results: Results) -> list[PairRow]:
    """A row for each pair that has runs."""
    return [_row(results, pair) for pair in results.pairs if results.of(pair)]


def ceiling_share(
    ours: Sequence[Run], reference: Sequence[Run], ceiling: Sequence[Run], metric: Metric
) -> float | None:
    """Our gain over the reference as a share of the ceiling's; None where that is not above noise."""
    above = contest(ceiling, reference, metric)
    mine, base, top = (by_seed(runs, metric) for runs in (ours, reference, ceiling))
    seeds = [seed for seed in common(mine, base) if seed in top]
    if above is None or above.outcome != "win" or not seeds:
        return None
    gained = statistics.fmean(metric.gain(mine[seed], base[seed]) for seed in seeds)
    return gained / statistics.fmean(metric.gain(top[seed], base[seed]) for seed in seeds)


def _row(results: Results, pair: Pair) -> PairRow:
    metric = results.metric(pair)
    reference, ours, ceiling = results.reference(pair), results.ours(pair), results.ceiling(pair)
    search = results.search(pair)
    return PairRow(
        pair=pair,
        metric=metric,
        setting=_setting(reference),
        reference=_figure(reference, metric) if reference else None,
        starts={start: _figure(runs, metric) for start, runs in by_start(ours).items()},
        pooled=_figure(ours, metric) if ours else None,
        peers={name: _figure(runs, metric) for name, runs in results.peers(pair).items()},
        heuristics={name: _figure(runs, metric) for name, runs in results.heuristics(pair).items()},
        against=_against(ours, reference, metric),
        verdict=contest(ours, reference, metric),
        multipliers=ceiling[0].config.multipliers if ceiling else (),
        ceiling=_figure(ceiling, metric) if ceiling else None,
        ceiling_verdict=contest(ceiling, reference, metric),
        share=ceiling_share(ours, reference, ceiling, metric),
        searched=len(search),
        search_seconds=sum(run.seconds for run in search),
    )


def _figure(runs: Sequence[Run], metric: Metric) -> Figure:
    over_seeds = interval(list(by_seed(runs, metric).values()))
    return Figure(over_seeds, sum(run.diverged for run in runs), len(runs))


def _setting(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    config = runs[0].config
    return f"{config.rate:.3g}, {config.schedule}" + (f", {config.warmup:.0%} warm-up" if config.warmup else "")


def _against(ours: Sequence[Run], reference: Sequence[Run], metric: Metric) -> str:
    mine, base = by_seed(ours, metric), by_seed(reference, metric)
    seeds = common(mine, base)
    if not seeds:
        return ""
    own, other = (statistics.fmean(values[seed] for seed in seeds) for values in (mine, base))
    return f"x {own / other:.3g}" if metric.is_ratio and own > 0 and other > 0 else f"{own - other:+.3g}"
