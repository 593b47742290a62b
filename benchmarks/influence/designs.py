"""How to measure influence so that its ranking lasts: designs compared on one recording.

    python -m benchmarks.influence.designs --data DIR     # about 4 minutes

Every group is measured on every step of the short run, for development seeds that report nowhere else, before training
and after 5% and 10% of it; then each design is given the part of the recording that it would have measured. The numbers
are rank correlations (Spearman) between the seeds, and of each seed with its own start.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import torch

from benchmarks.influence.tasks import arguments, closures, spearman, task, tune, write
from hidlr.influence import InfluenceMeter
from hidlr.measuring import _grouped, _Run

SEEDS, SHARES, STEPS = (10, 11), (0.0, 0.05, 0.1), 24
TASKS = {"digits-vit": (1e-3, 315), "shakespeare-gpt": (1e-3, 400)}  # rate, length of the run

Steps = list[dict[str, Any]]  # of one group: slope, curvature, reason of refusal, squared length of the move


class Recorder(InfluenceMeter):
    """Keeps what a meter is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, Steps] = {}
        self.sizes: dict[str, int] = {}

    def observe(self, name: str, size: int, **found: Any) -> None:
        """Curvature first, then the same step's slope."""
        self.sizes[name] = size
        if "curvature" in found:
            self.seen.setdefault(name, []).append(found)
        elif "slope" in found:
            self.seen[name][-1] |= found


def in_turn(recording: dict[str, Steps], a_step: int) -> dict[str, list[int]]:
    """A few groups a step, those first that have the fewest accepted measurements, a refused one counting half."""
    tries, taken = dict.fromkeys(recording, 0.0), {name: list[int]() for name in recording}
    for step in range(STEPS):
        for name in sorted(recording, key=lambda name: tries[name])[:a_step]:
            taken[name].append(step)
            tries[name] += 0.5 if recording[name][step]["reason"] else 1.0
    return taken


def together(recording: dict[str, Steps], rounds: int) -> dict[str, list[int]]:
    """All groups on the same steps."""
    return {name: [math.ceil(STEPS * k / rounds) - 1 for k in range(1, rounds + 1)] for name in recording}


def influence(
    steps: Steps, measured: Iterable[int], mean: Callable[[list[float]], float], per_length: bool, first: int
) -> float | None:
    """b^2 / A of one group."""
    units = [step["move"] if per_length else 1.0 for step in steps]
    slope = statistics.fmean(steps[k]["slope"] / units[k] ** 0.5 for k in range(first, STEPS))
    curvatures = [steps[k]["curvature"] / units[k] for k in measured if not steps[k]["reason"]]
    return slope**2 / mean(curvatures) if curvatures and slope > 0 else None


DESIGNS: dict[str, tuple[Callable[..., dict[str, list[int]]], int, Callable[[list[float]], float], bool, int]] = {
    "three groups a step in turn, plain means": (in_turn, 3, statistics.fmean, False, 0),
    "the same, per length of the step": (in_turn, 3, statistics.fmean, True, 0),
    "the same, geometric mean of curvatures": (in_turn, 3, statistics.geometric_mean, True, 0),
    "eight groups a step, plain means": (in_turn, 8, statistics.fmean, False, 0),
    "eight groups a step, per length, geometric": (in_turn, 8, statistics.geometric_mean, True, 0),
    "all groups on 3 steps, per length, geometric": (together, 3, statistics.geometric_mean, True, 0),
    "all groups on 6 steps, per length, geometric": (together, 6, statistics.geometric_mean, True, 0),
    "all groups on 12 steps, per length, plain": (together, 12, statistics.fmean, True, 0),
    "all groups on 12 steps, per length, geometric (now)": (together, 12, statistics.geometric_mean, True, 0),
    "the same without the first 4 slopes": (together, 12, statistics.geometric_mean, True, 4),
    "all groups on all steps, per length, geometric": (together, 24, statistics.geometric_mean, True, 0),
}


def main() -> None:
    arguments(__doc__)
    rows = []
    for name, (rate, steps) in TASKS.items():
        found = {seed: [*record(name, seed, rate, steps)] for seed in SEEDS}
        for design, (plan, amount, mean, per_length, first) in DESIGNS.items():
            ranked: dict[int, list[dict[str, float]]] = {}
            for seed, recordings in found.items():
                for recording, sizes in recordings:
                    taken = plan(recording, amount)
                    totals = {own: influence(recording[own], taken[own], mean, per_length, first) for own in recording}
                    ppi = {own: value / sizes[own] for own, value in totals.items() if value is not None}
                    ranked.setdefault(seed, []).append(ppi)
            seeds = [agree(*pair) for of_share in zip(*ranked.values(), strict=True) for pair in pairs(of_share)]
            time = [agree(own[0], later) for own in ranked.values() for later in own[1:]]
            rows.append({"task": name, "design": design, "over_seeds": seeds, "over_time": time})
            print(name, design, seeds, time, flush=True)
    write("designs", {"seeds": SEEDS, "shares": SHARES, "steps": STEPS, "rows": rows})


def record(name: str, seed: int, rate: float, steps: int) -> Iterable[tuple[dict[str, Steps], dict[str, int]]]:
    """All groups at all steps, at each share of training."""
    workload, before = task(name), 0
    model = workload.build(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    for share in SHARES:
        last = round(share * steps)
        tune(workload, model, optimizer, seed, before, last, steps)
        before = last
        for group in optimizer.param_groups:
            group["lr"] = rate
        groups, _ = _grouped(model, optimizer, "role_layer")
        meter = Recorder()
        _Run(optimizer, groups, closures(workload, model, 1000 + seed, STEPS), WeakSet([model]), meter).take(
            STEPS, STEPS
        )
        yield meter.seen, meter.sizes


def agree(one: dict[str, float], other: dict[str, float]) -> float:
    """Rank correlation over the groups that both have."""
    names = [name for name in one if name in other]
    return spearman([one[name] for name in names], [other[name] for name in names])


def pairs(items: Iterable[dict[str, float]]) -> Iterable[tuple[dict[str, float], dict[str, float]]]:
    return itertools.combinations(items, 2)


if __name__ == "__main__":
    main()
