"""Arms, their tuning, and the verdicts: on results made up so that all is known."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from benchmarks.paper import ratios
from benchmarks.paper.arms import Arm, Row, course, ours, peer, reported, uniform
from benchmarks.paper.comparison import MethodComparison, contest
from benchmarks.paper.experiment import QUICK, Tier
from benchmarks.paper.finder import kind
from benchmarks.paper.runs import TUNING, Runs
from benchmarks.run import RunConfig

ROW = Row("digits-softmax", "digits", kind("digits-softmax"), 5)  # by val_loss; reports val_accuracy
TUNED = uniform("tuned", (0.1, 0.2, 0.3), "linear")
OURS = ours("ours", "all")


def result(config: RunConfig, loss: float, accuracy: float = 0.5, status: str = "ok") -> dict[str, Any]:
    return {
        "config": config.to_dict(), "status": status, "metric": loss, "rates": {"weight": 0.1, "bias": 0.1},
        "metrics": {"val_loss": loss, "val_accuracy": accuracy}, "engine": "x", "seconds": 1.0,
    }  # fmt: skip


def drive(steps: Any, answer: Callable[[RunConfig], dict[str, Any]]) -> tuple[list[RunConfig], Any]:
    asked: list[RunConfig] = []
    batch: Sequence[RunConfig] = next(steps)
    while True:
        asked += batch
        try:
            batch = steps.send([answer(config) for config in batch])
        except StopIteration as stop:
            return asked, stop.value


def test_an_arm_is_tuned_on_one_seed_and_reported_on_others() -> None:
    losses = {0.1: 3.0, 0.2: 1.0, 0.3: 2.0}
    asked, found = drive(course(ROW, TUNED, (100, 101)), lambda config: result(config, losses[config.rate]))
    assert [(config.rate, config.seed) for config in asked] == [
        (0.1, TUNING), (0.2, TUNING), (0.3, TUNING), (0.2, 100), (0.2, 101),
    ]  # fmt: skip
    assert {config.workload for config in asked} == {"digits-softmax@5"}
    assert {config.warmup for config in asked} == {0.1}
    assert [one["config"]["seed"] for one in found] == [100, 101]


def test_an_arm_with_one_rate_is_not_tuned() -> None:
    asked, _ = drive(course(ROW, peer("prodigy", "Prodigy"), (100,)), lambda config: result(config, 1.0))
    assert [(config.method, config.rate, config.schedule) for config in asked] == [("prodigy", 1.0, "cosine")]


def test_a_rate_that_diverges_is_not_chosen() -> None:
    def answer(config: RunConfig) -> dict[str, Any]:
        return result(config, 0.0, status="diverged") if config.rate == 0.1 else result(config, config.rate)

    asked, _ = drive(course(ROW, TUNED, (100,)), answer)
    assert asked[-1].rate == 0.2


def test_reported_results_are_those_of_the_chosen_rate_alone() -> None:
    # Seed 100 was also run at 0.3, from a grid of another day.
    tuning = [result(TUNED.config(ROW, rate, TUNING), loss) for rate, loss in ((0.1, 2.0), (0.2, 1.0), (0.3, 3.0))]
    final = [result(TUNED.config(ROW, rate, 100), rate) for rate in (0.2, 0.3)]
    other = result(OURS.config(ROW, 1e-4, 100), 9.0)
    found = reported(ROW, TUNED, Runs((*tuning, *final, other)))
    assert [one["metric"] for one in found] == [0.2]


def runs_of(values: dict[tuple[Arm, int], tuple[float, float]]) -> Runs:
    return Runs(tuple(result(arm.config(ROW, arm.rates[0], seed), *own) for (arm, seed), own in values.items()))


class Toy(MethodComparison):
    name = "toy"
    title = "Toy"
    claim = "Something."
    figure = "Bars."

    def __init__(self, *arms: Arm) -> None:
        self._arms_ = arms

    def rows(self, tier: Tier) -> Sequence[Row]:
        return [ROW]

    def arms(self, row: Row) -> Sequence[Arm]:
        return self._arms_


ONE, TWO = uniform("one", (0.1,), "linear"), uniform("two", (0.1,), "cosine")
A, B = ours("a", "all"), ours("b", "tensor")


def test_the_contest_is_between_the_best_by_validation() -> None:
    # By test `two` and `b` would be best (lower is better), but validation does not know.
    loss_accuracy = {ONE: (1.0, 0.6), TWO: (2.0, 0.5), A: (1.0, 0.7), B: (3.0, 0.1)}
    wiggle = {100: 0.0, 101: 0.01, 102: -0.01}
    runs = runs_of({(arm, s): (loss, acc + w) for arm, (loss, acc) in loss_accuracy.items() for s, w in wiggle.items()})
    kind_ = type(
        "Val", (ROW.kind,), {"metric_name": "val_loss", "test_name": "val_accuracy", "higher_is_better": False}
    )
    row = Row(ROW.workload, "digits", kind_, 5)
    found = contest(row, [(arm, reported(row, arm, runs)) for arm in (ONE, TWO, A, B)])
    assert found is not None
    assert (found.mine.label, found.other.label) == ("a", "one")
    # The test metric has the direction of the validation's: 0.7 is behind 0.6 where lower is better.
    assert not found.ahead
    assert found.test.gain == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("mine", "outcome"), [(0.1, "holds"), (0.999, "holds in part"), (1.01, "does not hold"), (2.0, "does not hold")]
)
def test_the_verdict_follows_the_figures(mine: float, outcome: str) -> None:
    values = {(ONE, seed): (1 + w, 1 + w) for seed, w in ((100, 0.0), (101, 0.1), (102, -0.1))}
    values |= {(A, seed): (mine + w, mine + w) for seed, w in ((100, 0.01), (101, -0.01), (102, 0.0))}
    experiment = Toy(ONE, A)
    row_kind = type("Val", (ROW.kind,), {"test_name": "val_loss"})
    experiment.rows = lambda tier: [Row(ROW.workload, "digits", row_kind, 5)]  # type: ignore[method-assign]
    assert experiment.judge(runs_of(values)).outcome == outcome
    experiment.on_par = True
    assert experiment.judge(runs_of(values)).outcome == {1.01: "holds in part", 2.0: "does not hold"}.get(mine, "holds")


def test_nothing_is_judged_where_nothing_was_run() -> None:
    experiment = Toy(ONE, A)
    assert experiment.judge(Runs(())).outcome == "not run"
    assert experiment.judge(runs_of({(ONE, 100): (1.0, 1.0)})).outcome == "not run"


def test_a_run_that_diverged_counts_as_the_worst() -> None:
    values = {(ONE, seed): (1.0, 0.5) for seed in (100, 101, 102)}
    runs = Runs((*runs_of(values), *(result(A.config(ROW, 1e-4, s), 0.1, 0.9, "diverged") for s in (100, 101, 102))))
    verdict = Toy(ONE, A).judge(runs)
    assert verdict.outcome == "does not hold"
    assert "1 losses" in verdict.measured
    assert "Runs that diverged: 3 of 6" in Toy(ONE, A).table(runs)


def test_searches_cover_every_arm() -> None:
    searches = Toy(TUNED, A).searches(QUICK)
    assert [search.estimate for search in searches] == [6, 3]
    assert {search.pair for search in searches} == {("digits-softmax@5", "adamw")}


# -- fixed factors by grid ----------------------------------------------------------------------------


def test_the_grid_of_factors_keeps_what_helps() -> None:
    row = ratios.Ratios().rows(QUICK)[1]  # a loss

    def answer(config: RunConfig) -> dict[str, Any]:
        factors = dict(config.multipliers)
        # The best: rate 3e-3, weight x4, bias as it is.
        loss = abs(config.rate - 3e-3) + {4.0: 0.0, 1.0: 1.0, 0.25: 2.0}[factors.get("weight", 1.0)]
        return result(config, loss + (0.5 if factors.get("bias", 1.0) != 1 else 0.0))

    asked, found = drive(ratios.grid(row, (100, 101)), answer)
    assert [config.multipliers for config in asked[-2:]] == [(("weight", 4.0),)] * 2
    assert {config.rate for config in asked[-2:]} == {3e-3}
    assert len(asked) == 3 + 4 + 2
    runs = Runs(tuple(answer(config) for config in asked))
    arms = {arm.label: arm for arm in ratios.Ratios().arms(row)}
    assert ratios.Ratios().found(row, arms["fixed factors, by grid"], runs) == found


def test_factors_that_help_are_tried_together() -> None:
    row = ratios.Ratios().rows(QUICK)[1]
    gains = {("weight", 4.0): 1.0, ("bias", 0.25): 0.5, ("weight", 0.25): -1.0, ("bias", 4.0): -1.0}
    asked, _ = drive(ratios.grid(row, (100,)), lambda c: result(c, 5 - sum(gains[own] for own in c.multipliers)))
    assert len(asked) == 3 + 4 + 1 + 1
    assert asked[-1].multipliers == (("bias", 0.25), ("weight", 4.0))


def test_where_no_factor_helps_the_grid_chooses_the_uniform_rate() -> None:
    row = ratios.Ratios().rows(QUICK)[1]
    asked, _ = drive(ratios.grid(row, (100,)), lambda config: result(config, float(len(config.multipliers))))
    assert asked[-1].multipliers == ()
