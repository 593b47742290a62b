"""Which results are there, and which are missing: a figure counts only if all of it was measured."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from benchmarks.scoring.load import Pair, Run
from benchmarks.scoring.results import FINAL_SEEDS, Results

__all__ = ["Select", "absent_seeds", "by_workload", "missing_runs", "named", "uncovered"]

Select = Callable[[Pair], Sequence[Run]]
"""Some of a pair's runs."""


def by_workload(results: Results, select: Select) -> dict[str, list[Run]]:
    """Runs of every pair, by workload; workloads without any are left out."""
    found: dict[str, list[Run]] = defaultdict(list)
    for pair in results.pairs:
        for run in select(pair):
            found[pair.workload].append(run)
    return found


def uncovered(results: Results, found: Mapping[str, object], label: str) -> list[str]:
    """A line for each workload that is not among those found."""
    names = dict.fromkeys(pair.workload for pair in results.pairs)
    return [f"{name}: no run of {label}" for name in names if name not in found]


def missing_runs(results: Results, select: Select, label: str, starts: Sequence[float] = ()) -> list[str]:
    """A line for each pair (and starting rate) whose runs are not on all final seeds."""
    lines = []
    for pair in results.pairs:
        runs = select(pair)
        if not runs or not starts:
            lines += absent_seeds(f"{pair}: {label}", runs)
            continue
        for start in starts:
            own = [run for run in runs if run.config.rate == start]
            lines += absent_seeds(f"{pair}: {label} from {start:g}", own)
    return lines


def absent_seeds(label: str, runs: Sequence[Run]) -> list[str]:
    """A line naming the final seeds that there are no runs of; none if all are there."""
    absent = sorted(set(FINAL_SEEDS) - {run.config.seed for run in runs})
    if not absent:
        return []
    return [f"{label}, {'all seeds' if not runs else 'seeds ' + ', '.join(map(str, absent))}"]


def named(run: Run) -> str:
    """A run in words."""
    config = run.config
    parts = [str(config.pair), f"from {config.rate:g}", f"seed {config.seed}", config.schedule, config.groups]
    parts += [f"{name}={value}" for name, value in config.options]
    return ", ".join(part for part in parts if part)
