import math
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.plan import STAGES, Order, pairs, plan
from benchmarks.reference import FRESH, RATES, SEARCH, Chosen, Goal, ceiling, search, start_rate
from benchmarks.run import Result, RunConfig
from benchmarks.runner import Steps
from toys import result_of

Objective = Callable[[RunConfig], float | None]
LOSS = Goal(higher_is_better=False)


def play(steps: Steps, objective: Objective, names: tuple[str, ...] = ("a", "b")) -> tuple[Any, list[RunConfig]]:
    """Take a search to its end on a function instead of trainings."""
    log: list[RunConfig] = []
    results: list[Result] | None = None
    while True:
        try:
            batch = list(steps.send(results) if results is not None else next(steps))
        except StopIteration as stop:
            return stop.value, log
        log += batch
        results = [result_of(config, objective(config), names) for config in batch]


def decades_from(rate: float, best: float) -> float:
    return abs(math.log10(rate / best))


@pytest.mark.parametrize("best", [1e-6, 3e-5, 1e-3, 3e-3, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_finds_the_best_rate(best: float, optimizer: str) -> None:
    def loss(config: RunConfig) -> float | None:
        if config.rate > 20 * best:
            return None
        schedule = {"cosine": 0.0, "linear": 0.02, "constant": 0.1}[config.schedule]
        return decades_from(config.rate, best) + schedule + abs(config.warmup - 0.05) + 1e-3 * config.seed

    chosen, log = play(search("line", optimizer, LOSS), loss)
    assert (chosen.config.rate, chosen.config.schedule, chosen.config.warmup) == (best, "cosine", 0.05)
    assert chosen.value == pytest.approx(1e-3)  # mean over seeds 0, 1, 2
    assert len(log) == len(set(log))
    assert [config.seed for config in log[-5:]] == list(FRESH)
    assert all(config.seed in SEARCH for config in log[:-5])
    assert chosen.runs == len(log) - 5
    assert chosen.seconds == chosen.runs
    assert 25 <= chosen.runs <= 40


def test_stops_above_divergence() -> None:
    _, log = play(search("line", "adamw", LOSS), lambda config: None if config.rate > 3e-3 else 1 / config.rate)
    assert max(config.rate for config in log) <= 1e-2


def test_higher_can_be_better() -> None:
    chosen, _ = play(
        search("line", "adamw", Goal(higher_is_better=True)), lambda config: 1 - decades_from(config.rate, 1e-4)
    )
    assert chosen.config.rate == 1e-4


def test_later_seeds_decide_between_the_last_three() -> None:
    def loss(config: RunConfig) -> float | None:
        if config.rate == 1e-3 and config.seed in (1, 2):
            return None  # the best by its first seed fails on others
        return 0.01 * decades_from(config.rate, 1e-3) + (config.schedule != "linear") + config.warmup

    chosen, log = play(search("line", "adamw", LOSS), loss)
    assert {config.rate for config in log if config.seed == 1} == {1e-3, chosen.config.rate}
    assert chosen.config.rate in (3e-4, 3e-3)


def test_ties_go_by_the_loss() -> None:
    goal = Goal(higher_is_better=True)
    tied = [
        result_of(RunConfig("line", "sgd", "uniform", 0, 1.0), 0.9, metrics={"val_loss": loss}) for loss in (0.5, 0.4)
    ]
    assert goal.score(tied[1]) > goal.score(tied[0])


def test_all_failing_still_ends() -> None:
    chosen, log = play(search("line", "adamw", LOSS), lambda config: None)
    assert chosen.value is None
    assert len(log) < 50


def test_rates() -> None:
    assert {1e-6, 3e-6, 1e-3, 3e-1, 1.0} <= set(RATES)
    assert all(start_rate(name) in RATES for name in ("adamw", "momentum", "sgd", "lion", "muon", "other"))


class TestCeiling:
    wanted = {"a": 8.0, "b": 0.25, "c": 1.0}  # noqa: RUF012

    def loss(self, config: RunConfig) -> float:
        factors = {"a": 1.0, "b": 1.0, "c": 1.0} | dict(config.multipliers)
        apart = sum(abs(math.log2(factors[name] / best)) for name, best in self.wanted.items())
        return decades_from(config.rate, 1e-2) + (config.schedule != "linear") + config.warmup + 0.1 * apart

    def test_finds_the_factors(self) -> None:
        reference, before = play(search("line", "adamw", LOSS), self.loss, ("a", "b", "c"))
        found, log = play(ceiling("line", "adamw", LOSS), self.loss, ("a", "b", "c"))
        assert isinstance(found, Chosen)
        assert dict(found.config.multipliers) == {"a": 8.0, "b": 0.25}
        assert found.config.rate == reference.config.rate == 1e-2
        assert log[: len(before)] == before  # the reference's runs are answered from file
        assert found.settings <= 30
        assert [config.seed for config in log[-5:]] == list(FRESH)
        assert {config.seed for config in log[len(before) : -5]} == {0, 1}

    def test_bounds(self) -> None:
        def greedy(config: RunConfig) -> float:
            return decades_from(config.rate, 1e-2) - sum(math.log(factor) for _, factor in config.multipliers)

        found, _ = play(ceiling("line", "adamw", LOSS), greedy)
        assert dict(found.config.multipliers) == {"a": 16.0, "b": 16.0}

    def test_settings_are_counted(self) -> None:
        names = tuple("abcdef")

        def endless(config: RunConfig) -> float:
            return decades_from(config.rate, 1e-2) - sum(math.log(factor) ** 2 for _, factor in config.multipliers)

        found, _ = play(ceiling("line", "adamw", LOSS), endless, names)
        assert found.settings <= 30

    @pytest.mark.parametrize("names", [("a",), tuple("abcdefg")])
    def test_skips_one_group_and_many(self, names: tuple[str, ...]) -> None:
        found, log = play(ceiling("line", "adamw", LOSS), lambda config: decades_from(config.rate, 1e-2), names)
        assert found is None
        assert not any(config.multipliers for config in log)


class TestPlan:
    order = Order(workloads=("digits-vit",), optimizers=("adamw",))

    def test_pairs(self) -> None:
        assert pairs(self.order) == [("digits-vit", "adamw")]
        assert ("digits-vit", "lion") in pairs(Order())

    def configs(self, **settings: Any) -> list[RunConfig]:
        from dataclasses import replace

        return [
            config
            for search in plan(replace(self.order, **settings))
            for config in play(search.steps, lambda _: 1.0)[1]
        ]

    def test_stage_hidlr(self) -> None:
        found = self.configs(stages=("hidlr",))
        assert {(config.rate, config.seed) for config in found} == {
            (rate, seed) for rate in (1e-6, 1e-4, 1e-2) for seed in FRESH
        }
        assert {config.method for config in found} == {"hidlr"}

    def test_estimates_are_close(self) -> None:
        for stage in STAGES:
            for one in plan(Order(stages=(stage,), workloads=("digits-vit", "rosenbrock"))):
                asked = len(set(play(one.steps, lambda config: decades_from(config.rate, 1e-3))[1]))
                assert 0.4 * asked <= one.estimate <= 2.5 * asked, one.name

    def test_peers(self) -> None:
        found = self.configs(stages=("peers",))
        assert {"paper", "prodigy", "lamb"} <= {config.method for config in found}
        assert {config.groups for config in found if config.method == "paper"} == {"", "all"}
        gen = self.configs(stages=("peers",), methods=("gen",))
        assert {(config.method, config.groups) for config in gen} == {("paper", "all")}

    def test_heuristics_are_those_that_speak_of_the_model(self) -> None:
        found = self.configs(stages=("heuristics",), methods=("bias_x2", "lora_plus"))
        assert {config.method for config in found} == {"uniform", "bias_x2"}

    def test_quick(self) -> None:
        quick = Order().quick()
        assert len(quick.seeds) == 2
        assert len(pairs(quick)) < 20
