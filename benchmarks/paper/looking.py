"""Experiments that look along the steps of ordinary trainings: which trainings, and how they are watched."""

from collections.abc import Mapping, Sequence

from benchmarks.paper.experiment import Tier
from benchmarks.paper.lines import Look, Watching, with_engine
from benchmarks.paper.walk import walk
from benchmarks.run import RunConfig
from benchmarks.runner import Search, each
from hidlr.workloads.base import Workload

__all__ = ["trainings", "watch"]


def trainings(experiment: str, tasks: Mapping[str, tuple[float, int, int]], tier: Tier) -> list[Search]:
    """One training per task and seed, at a fixed rate with linear decay.

    Args:
        experiment: its name.
        tasks: rate, and steps of the quick and of the full tier, by workload.
        tier: which of them, and the seeds.
    """
    found = []
    for name, (rate, quick, full) in tasks.items():
        workload = f"{name}@{tier.steps(quick, full)}"
        configs = [RunConfig(workload, "adamw", "uniform", seed, rate, groups="role") for seed in tier.seeds]
        found.append(Search(f"{experiment} {name}", configs[0].pair, each(configs), len(configs)))
    return found


def watch(config: RunConfig, workload: Workload, at: Sequence[int], look: Look) -> int:
    """Train, and look at the steps ``at``; returns the last step that was taken."""
    engine, last = Watching(at, look), 0
    for moment in walk(config, workload, lambda c, w: with_engine(c, w, lambda names: engine)):
        last = moment.step
    return last
