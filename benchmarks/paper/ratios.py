"""More degrees of freedom, or better informed? Fixed factors per group, tuned by grid, beside the measured ones."""

from collections.abc import Sequence
from dataclasses import replace

from benchmarks.paper.arms import Arm, Row, ours, paper, reported, search, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.runs import TUNING, Runs
from benchmarks.paper.two_tasks import two_tasks
from benchmarks.run import Result
from benchmarks.runner import Search, Steps

__all__ = ["Ratios"]

_FACTORS = (4.0, 0.25)
_UNIFORM = uniform("linear", (1e-3, 3e-3, 1e-2), "linear", groups="role")
_FIXED = Arm("fixed factors, by grid", "baseline", "uniform", _UNIFORM.rates, warmup=_UNIFORM.warmup, groups="role")
_OURS = ours("hidlr role", "role")
_PAPER = paper("Hi-DLR, as published", "role")


class Ratios(MethodComparison):
    """What the reviewers asked: a grid search with the same freedom."""

    name = "ratios"
    title = "Fixed ratios, tuned by grid"
    claim = "Implied: the gain is the Hessian's, not that of more rates: fixed factors tuned by grid do not reach it."
    figure = "Test metric of each method, with intervals."
    wanted = 1.0

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Two tasks."""
        return two_tasks(tier)

    def arms(self, row: Row) -> Sequence[Arm]:
        """The uniform rate, the factors, the paper's rule and ours."""
        del row
        return (_UNIFORM, _FIXED, _PAPER, _OURS)

    def searches(self, tier: Tier) -> list[Search]:
        """As usual but for the factors, which have a course of their own."""
        found = []
        for row in self.rows(tier):
            found += [search(self.name, row, arm, tier.seeds) for arm in (_UNIFORM, _PAPER, _OURS)]
            pair = _FIXED.config(row, _FIXED.rates[0], TUNING).pair
            found.append(Search(f"{self.name} {row.label} factors", pair, grid(row, tier.seeds), 20 + len(tier.seeds)))
        return found

    def found(self, row: Row, arm: Arm, runs: Runs) -> list[Result]:
        """Runs with factors are the only ones that have any; where none helped, the choice is the uniform rate."""
        if arm is not _FIXED:
            return reported(row, arm, runs)
        like = _FIXED.config(row, _FIXED.rates[0], TUNING).to_dict()
        known = runs.of(**{key: like[key] for key in ("workload", "method", "schedule", "warmup", "groups")})
        return [result for result in known if result["config"]["multipliers"]] or reported(row, _UNIFORM, runs)


def grid(row: Row, seeds: Sequence[int]) -> Steps:
    """The best uniform rate; then each group's factor alone up and down by 4, and what helped together: the best.

    Chosen by validation on the tuning seed. Returns the results on the reported seeds.
    """
    tried = yield [_UNIFORM.config(row, rate, TUNING) for rate in _UNIFORM.rates]
    scores = [row.goal.score(result) for result in tried]
    best = _UNIFORM.config(row, _UNIFORM.rates[scores.index(max(scores))], TUNING)
    base, names = max(scores), list(tried[0]["rates"])
    moves = [replace(best, multipliers=((name, factor),)) for name in names for factor in _FACTORS]
    results = yield moves
    gained = {move.multipliers[0]: row.goal.score(result) for move, result in zip(moves, results, strict=True)}
    helped = []
    for name in names:
        score, factor = max((gained[name, factor], factor) for factor in _FACTORS)
        if score > base:
            helped.append((name, factor))
    pool = {best: base, **{move: gained[move.multipliers[0]] for move in moves}}
    if len(helped) > 1:
        together = replace(best, multipliers=tuple(helped))
        (joint,) = yield [together]
        pool[together] = row.goal.score(joint)
    chosen = max(pool, key=lambda config: pool[config])
    final = yield [replace(chosen, seed=seed) for seed in seeds]
    return final
