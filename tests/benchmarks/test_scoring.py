"""Each verdict, on results made up so that it is known."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.scoring import cli, plots, tables
from benchmarks.scoring.load import Config, Pair, Run, load_runs
from benchmarks.scoring.metrics import WORST_LOSS, Metric, expected_pairs, metric_of
from benchmarks.scoring.pairs import pair_rows
from benchmarks.scoring.results import FINAL_SEEDS, LOW, STARTS, Results
from benchmarks.scoring.statistics import compare, interval, profile, regrets, steps_to
from benchmarks.scoring.targets import TARGETS, Target, all_targets, t1, t2, t3, t4, t5, t6, t7, t8
from scipy import stats

LOSS = Metric("val_loss", higher_is_better=False)
SCORE = Metric("val_accuracy", higher_is_better=True, granularity=0.01)
PAIR = Pair("net", "adamw")
NOISE = dict(zip(FINAL_SEEDS, (0.0, 0.01, -0.01, 0.02, -0.02), strict=True))
# Differences over seeds that are not all the same, so that tests have a variance.
WIGGLE = dict(zip(FINAL_SEEDS, (0.001, -0.001, 0.0, 0.002, -0.002), strict=True))


def run(method: str, seed: int, metric: float, *, pair: Pair = PAIR, rate: float = 1e-3, **fields: Any) -> Run:
    inside = {name: fields.pop(name) for name in list(fields) if name in Config.__dataclass_fields__}
    config = Config(pair.workload, pair.optimizer, method, seed, rate, **inside)
    given = {"seconds": 10.0, "steps": 100, "train_loss": metric, "curve": falling(metric), "groups": 6, **fields}
    return Run(config, metric=metric, **given)


def falling(end: float, reached: int = 100) -> tuple[tuple[float, float], ...]:
    """A loss curve of 100 steps that stands at 5 and is at `end` for the window that ends at `reached`."""
    return tuple((float(step), 5.0 if step <= reached - 5 else end) for step in range(1, 101))


def uniform(value: float = 1.0, *, pair: Pair = PAIR, **fields: Any) -> list[Run]:
    return [run("uniform", seed, value + NOISE[seed], pair=pair, **fields) for seed in FINAL_SEEDS]


def ours(value: float = 1.0, *, pair: Pair = PAIR, starts: Iterable[float] = STARTS, **fields: Any) -> list[Run]:
    fields = {"probe_seconds": 0.9, **fields}
    return [
        run("hidlr", seed, value + NOISE[seed] + WIGGLE[seed], pair=pair, rate=start, **fields)
        for start in starts
        for seed in FINAL_SEEDS
    ]


def peer(name: str, value: float, *, pair: Pair = PAIR, **fields: Any) -> list[Run]:
    return [run(name, seed, value + NOISE[seed], pair=pair, **fields) for seed in FINAL_SEEDS]


def results(*runs: list[Run], metric: Metric = LOSS, **fields: Any) -> Results:
    every = tuple(one for own in runs for one in own)
    return Results(every, {one.config.workload: metric for one in every}, **fields)


def line(one: Run) -> str:
    config = {name: getattr(one.config, name) for name in Config.__dataclass_fields__ if name != "other"}
    result = {"config": config, "rates": dict.fromkeys(map(str, range(one.groups))), "curve": one.curve}
    names = ("status", "metric", "train_loss", "seconds", "probe_seconds", "steps")
    return json.dumps({**result, **{name: getattr(one, name) for name in names}})


class TestLoad:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        runs = ours(options=LOW, groups="all") + uniform(multipliers=(("bias", 2.0),))
        (tmp_path / "net-adamw.jsonl").write_text("\n".join(map(line, runs)) + "\n")
        assert load_runs(tmp_path) == tuple(runs)

    def test_the_last_line_of_a_config_counts(self, tmp_path: Path) -> None:
        lines = [line(run("hidlr", 100, value)) for value in (1.0, 2.0)]
        (tmp_path / "a.jsonl").write_text("\n".join(lines))
        assert [one.metric for one in load_runs(tmp_path)] == [2.0]

    def test_a_last_line_cut_short_is_passed_over(self, tmp_path: Path) -> None:
        whole = line(run("hidlr", 100, 1.0))
        (tmp_path / "a.jsonl").write_text(f"{whole}\n{whole[:50]}")
        assert len(load_runs(tmp_path)) == 1

    @pytest.mark.parametrize("damaged", ["{", "[]", '{"config": {}}', "1"])
    def test_another_damaged_line_is_named(self, tmp_path: Path, damaged: str) -> None:
        (tmp_path / "a.jsonl").write_text(f"{damaged}\n{line(run('hidlr', 100, 1.0))}\n")
        with pytest.raises(ValueError, match=r"a\.jsonl, line 1 is damaged"):
            load_runs(tmp_path)

    def test_fields_of_a_later_runner_tell_runs_apart(self, tmp_path: Path) -> None:
        plain = json.loads(line(run("hidlr", 100, 1.0)))
        other = {**plain, "config": {**plain["config"], "batch": 7}}
        same = {**plain, "config": {**plain["config"], "batch": None}}
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, (plain, other, same))))
        assert len(load_runs(tmp_path)) == 2

    def test_a_run_without_numbers_diverged(self, tmp_path: Path) -> None:
        data = json.loads(line(run("hidlr", 100, 1.0)))
        blank = {**data, "metric": None, "train_loss": None, "curve": [[5, None]], "rates": {"a": None}}
        (tmp_path / "a.jsonl").write_text(json.dumps(blank))
        (one,) = load_runs(tmp_path)
        assert one.diverged
        assert math.isnan(one.train_loss)

    def test_no_folder_is_no_runs(self, tmp_path: Path) -> None:
        assert load_runs(tmp_path / "absent") == ()


class TestStatistics:
    def test_the_test_is_the_paired_t_test(self) -> None:
        mine, other = [0.3, 0.1, 0.25, 0.22], [0.1, 0.2, 0.05, 0.1]
        found = compare([a - b for a, b in zip(mine, other, strict=True)])
        assert found is not None
        assert found.p == pytest.approx(stats.ttest_rel(mine, other).pvalue)
        low, high = stats.t.interval(0.95, 3, loc=sum(mine) / 4, scale=stats.sem(mine))
        assert interval(mine).half == pytest.approx((high - low) / 2)

    @pytest.mark.parametrize(
        ("gains", "outcome"),
        [
            ([0.0] * 5, "tie"),  # all values are equal
            ([1e-13] * 5, "tie"),  # rounding
            ([1e-3] * 5, "win"),  # no variance: the sign decides
            ([-1e-3] * 5, "loss"),
            ([0.1 + 0.2 - 0.3, 0.0, 0.0, 0.0, 0.0], "tie"),
            ([0.5, 0.6, 0.4, 0.5, 0.5], "win"),
            ([-0.5, -0.6, -0.4, -0.5, -0.5], "loss"),
            ([0.5, -0.6, 0.4, -0.5, 0.5], "tie"),
        ],
    )
    def test_outcomes(self, gains: list[float], outcome: str) -> None:
        found = compare(gains)
        assert found is not None
        assert found.outcome == outcome

    def test_one_seed_says_nothing(self) -> None:
        assert compare([1.0]) is None
        assert math.isnan(interval([1.0]).half)

    def test_steps_to(self) -> None:
        assert steps_to(falling(1.0, reached=60), 1.0, 100) == 60
        assert steps_to(falling(1.0), 0.9, 100) == math.inf
        assert steps_to([], 1.0, 100) == math.inf
        # A first lucky step is no average over 5% of the steps.
        assert steps_to([(1.0, 0.0), (5.0, 5.0), (10.0, 1.0)], 1.0, 100) == 10

    def test_entries_weigh_by_their_steps(self) -> None:
        # 30 steps of 100 are smoothed over 10%: (9 x 1 + 1 x 11) / 10 = 2.
        curve = [(1.0, 50.0), (10.0, 1.0), (11.0, 11.0)]
        assert steps_to(curve[1:], 2.0, 200) == 10
        assert steps_to([(9.0, 1.0), (10.0, 11.0)], 2.0, 200) == 10
        assert steps_to([(9.0, 1.0), (10.0, 11.0)], 1.9, 200) == math.inf

    def test_regrets_lie_between_none_and_all(self) -> None:
        assert regrets({"a": 0.0, "b": 1.0, "c": 9.0}, 4.0) == {"a": 0.0, "b": 0.25, "c": 1.0}
        assert regrets({"a": 0.0}, 0.0) == regrets({"a": 0.0}, math.nan) == {}

    def test_profile_ends_at_all_pairs(self) -> None:
        assert profile([0.2, 0.1, 0.2])[-1] == (0.2, 1.0)


class TestMetric:
    def test_runs_that_failed_count_as_the_worst_value(self) -> None:
        for status, value in (("diverged", 0.5), ("error", math.nan), ("ok", math.nan), ("ok", math.inf)):
            one = run("hidlr", 100, value, status=status)
            assert SCORE.value(one) == 0.0
            assert LOSS.value(one) == WORST_LOSS
            assert Metric("log10_loss", higher_is_better=False).value(one) == 6.0

    def test_losses_are_bounded(self) -> None:
        assert LOSS.value(run("hidlr", 100, 1e30)) == WORST_LOSS

    def test_gain_is_positive_where_better(self) -> None:
        assert LOSS.gain(1.0, 2.0) == SCORE.gain(2.0, 1.0) == 1.0

    def test_it_is_read_off_the_class_without_data(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HIDLR_DATA", raising=False)
        assert metric_of("digits-vit") == Metric("val_accuracy", higher_is_better=True)
        assert Pair("digits-vit", "adamw") in expected_pairs()

    def test_an_unknown_workload_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="unknown workload 'no-such'"):
            metric_of("no-such")


class TestSelection:
    def test_seeds_that_chose_are_not_the_reference(self) -> None:
        found = results(uniform(), [run("uniform", 0, 0.1, rate=0.3), run("uniform", 1, 0.1, rate=0.3)])
        assert {one.config.rate for one in found.reference(PAIR)} == {1e-3}
        assert len(found.search(PAIR)) == 2

    def test_of_two_references_the_harder_one_counts(self) -> None:
        found = results(uniform(1.0), uniform(0.9, rate=0.1), uniform(0.5, rate=0.3)[:2])
        assert {one.config.rate for one in found.reference(PAIR)} == {0.1}
        found = results(uniform(1.0), uniform(0.9, rate=0.1), metric=SCORE)
        assert {one.config.rate for one in found.reference(PAIR)} == {1e-3}

    def test_variants_are_not_the_default(self) -> None:
        runs = [ours(options=LOW), ours(groups="all"), ours(schedule="constant"), ours(starts=[0.5])]
        assert results(*runs).ours(PAIR) == []

    def test_peers_rules_and_multipliers_stand_apart(self) -> None:
        paper = peer("paper", 2.0) + peer("paper", 3.0, groups="all")
        runs = [
            uniform(),
            ours(),
            paper,
            peer("dog", 1.5),
            peer("head_x10", 0.5),
            uniform(0.8, multipliers=(("b", 2.0),)),
        ]
        found = results(*runs, rules=frozenset({"head_x10"}))
        assert list(found.peers(PAIR)) == ["dog", "gen", "paper"]
        assert list(found.heuristics(PAIR)) == ["head_x10"]
        assert len(found.reference(PAIR)) == len(found.ceiling(PAIR)) == 5


class TestTargets:
    def test_t1_wins(self) -> None:
        assert t1(results(uniform(), ours(0.5))).passed
        assert t1(results(uniform(), ours(1.5), metric=SCORE)).passed

    def test_t1_a_tie_alone_is_no_pass(self) -> None:
        found = t1(results(uniform(), ours(1.0)))
        assert not found.passed
        assert found.figure == "0 wins, 1 tie, 0 losses on 1 pairs"

    def test_t1_one_loss_fails(self) -> None:
        other = Pair("net", "sgd")
        found = t1(results(uniform(), ours(0.5), uniform(pair=other), ours(1.5, pair=other)))
        assert not found.passed
        assert found.figure == "1 win, 0 ties, 1 loss on 2 pairs"

    def test_t1_direction(self) -> None:
        assert "1 loss" in t1(results(uniform(), ours(0.5), metric=SCORE)).figure

    def test_t1_equal_values_tie(self) -> None:
        same = [run("hidlr", seed, 1.0 + NOISE[seed], rate=start) for start in STARTS for seed in FINAL_SEEDS]
        assert "1 tie" in t1(results(uniform(), same)).figure

    def test_t1_names_missing_seeds_and_fails(self) -> None:
        found = t1(results(uniform()[:4], ours(0.5)[1:]))
        assert not found.passed
        assert found.figure.startswith("1 win")
        assert "missing: net/adamw: hidlr from 1e-06, seeds 100" in found.detail
        assert "missing: net/adamw: reference, seeds 104" in found.detail

    def test_t1_names_missing_pairs_and_fails(self) -> None:
        found = t1(results(uniform(), ours(0.5), expected=(PAIR, Pair("other", "lion"))))
        assert not found.passed
        assert "missing: other/lion: hidlr, all seeds" in found.detail

    def test_t1_divergence_counts_as_worst(self) -> None:
        lost = [run("hidlr", seed, 0.9, rate=start, status="diverged") for start in STARTS for seed in FINAL_SEEDS]
        assert "1 loss" in t1(results(uniform(0.5), lost, metric=SCORE)).figure
        assert "1 loss" in t1(results(uniform(), lost)).figure

    def test_t2(self) -> None:
        assert t2(results(ours())).passed
        apart = [one for index, start in enumerate(STARTS) for one in ours(1.0 + index, starts=[start])]
        assert not t2(results(apart)).passed

    def test_t2_no_spread_at_all_passes(self) -> None:
        still = [run("hidlr", seed, 1.0, rate=start) for start in STARTS for seed in FINAL_SEEDS]
        assert t2(results(still)).passed
        moved = [run("hidlr", seed, 1.0 + start, rate=start) for start in STARTS for seed in FINAL_SEEDS]
        assert not t2(results(moved)).passed
        # An example more or less is what accuracy cannot tell.
        assert t2(results(moved, metric=SCORE)).passed

    def test_t3(self) -> None:
        quick = [run("hidlr", seed, 1.0, rate=s, curve=falling(0.9, 60)) for s in STARTS for seed in FINAL_SEEDS]
        found = t3(results(uniform(), quick))
        assert found.passed
        assert found.figure == "median 0.60 of the steps, never reached in 0% of 15 runs"

    def test_t3_never_reached_is_infinite(self) -> None:
        slow = [run("hidlr", seed, 1.0, rate=s, curve=falling(2.0, 60)) for s in STARTS for seed in FINAL_SEEDS]
        found = t3(results(uniform(), slow))
        assert not found.passed
        assert found.figure == "median inf of the steps, never reached in 100% of 15 runs"

    def test_t4(self) -> None:
        low = ours(0.5, options=LOW, starts=[1e-4], probe_seconds=0.2)
        found = t4(results(uniform(), ours(), low))
        assert found.passed
        assert "9.0% of wall-clock by default, 2.0% with overhead 0.02" in found.figure
        assert not t4(results(uniform(), ours(probe_seconds=1.1), low)).passed
        assert not t4(results(uniform(), ours(), ours(0.5, options=LOW, probe_seconds=0.4))).passed
        assert not t4(results(uniform(), ours(), ours(1.5, options=LOW, probe_seconds=0.2))).passed

    def test_t4_without_low_overhead_is_no_data(self) -> None:
        assert str(t4(results(uniform(), ours()))) == "T4 fail: no data"

    def stable(self) -> list[list[Run]]:
        gen = [one for start in STARTS for one in peer("paper", 1.0, groups="all", rate=start)]
        return [ours(), ours(schedule="constant", starts=[1e-4]), ours(groups="all"), gen]

    def test_t5(self) -> None:
        assert t5(results(*self.stable())).passed

    @pytest.mark.parametrize("lost", [{"status": "diverged"}, {"status": "error"}])
    def test_t5_any_divergence_fails(self, lost: dict[str, str]) -> None:
        seven = [run("hidlr", 7, 1.0, options=(("total_steps", "unknown"),), **lost)]
        found = t5(results(*self.stable(), seven))
        assert not found.passed
        assert any(
            entry.startswith("net/adamw, from 0.001, seed 7, linear, total_steps=unknown") for entry in found.detail
        )

    def test_t5_must_not_lose_to_gen(self) -> None:
        default, constant, _, gen = self.stable()
        assert not t5(results(default, constant, ours(2.0, groups="all"), gen)).passed

    def test_t5_needs_constant_one_group_and_gen(self) -> None:
        found = t5(results(ours()))
        assert not found.passed
        assert [entry for entry in found.detail if entry.startswith("missing")] == [
            "missing: net: no run of hidlr under a constant schedule",
            "missing: net: no run of hidlr with one group",
            "missing: GeN beside hidlr with one group: no pair has both",
        ]

    def test_t6(self) -> None:
        assert t6(results(ours(1.0), peer("dog", 2.0), peer("paper", 3.0))).passed
        found = t6(results(ours(1.0), peer("dog", 0.9), peer("paper", 3.0)))
        assert not found.passed
        assert found.figure == "better than dog, the hardest of 2 peers, on 0% of 1 pairs; 50% of 2 comparisons"

    def test_t6_equal_is_not_better(self) -> None:
        same = [run("hidlr", seed, 1.0 + NOISE[seed], rate=1e-4) for seed in FINAL_SEEDS]
        assert not t6(results(same, peer("dog", 1.0))).passed

    def many(self, values: dict[str, float], probes: dict[str, float] | None = None) -> Target:
        gpt = Pair("shakespeare-gpt", "adamw")
        sizes = {"all": 1, "": 6, "layer": 30, "tensor": 100}
        runs = []
        for groups, value in values.items():
            made = ours(value, pair=gpt, groups=groups, probe_seconds=(probes or {}).get(groups, 0.9))
            runs.append([Run(**{**one.__dict__, "groups": sizes[groups]}) for one in made])
        return t7(results(*runs))

    def test_t7(self) -> None:
        assert self.many({"all": 1.0, "": 0.9, "layer": 0.9, "tensor": 0.8}).passed
        found = self.many({"all": 1.0, "": 0.9, "layer": 0.9, "tensor": 0.95})
        assert not found.passed
        assert found.detail[0].startswith("tensor is worse than default")
        assert not self.many(dict.fromkeys(("all", "", "layer", "tensor"), 1.0), {"tensor": 3.0}).passed

    def test_t7_names_the_grouping_that_is_missing(self) -> None:
        found = self.many({"all": 1.0, "": 0.9, "layer": 0.9})
        assert str(found) == "T7 fail: no data"
        assert found.detail == ("missing: shakespeare-gpt/adamw: no hidlr run grouped by tensor",)

    def test_t8(self) -> None:
        top = uniform(0.5, multipliers=(("bias", 2.0),))
        assert t8(results(uniform(), ours(0.6), top)).passed
        found = t8(results(uniform(), ours(0.9), top))
        assert not found.passed
        assert found.figure == "median 20% of the ceiling's gain on 1 pairs (1 searched)"

    def test_t8_needs_a_ceiling_above_noise(self) -> None:
        found = t8(results(uniform(), ours(0.5), uniform(1.0, multipliers=(("bias", 2.0),))))
        assert str(found) == "T8 fail no ceiling above noise on 1 pairs"

    def test_no_data(self) -> None:
        for name, target in zip("12345678", TARGETS, strict=True):
            assert str(target(results())) == f"T{name} fail: no data"
        assert [target.name for target in all_targets(results())] == [f"T{name}" for name in "12345678"]


class TestTables:
    def test_a_row_has_it_all(self) -> None:
        found = results(uniform(warmup=0.05), ours(0.5), peer("dog", 0.7), peer("paper", 0.9), [run("uniform", 0, 1.0)])
        (row,) = pair_rows(found)
        assert row.best_peer is not None
        assert (row.setting, row.best_peer[0], row.against) == ("0.001, linear, 5% warm-up", "dog", "x 0.5")
        text = tables.pairs(found)
        assert "| net/adamw | val_loss ↓ | 0.001, linear, 5% warm-up | 1 ± 0.0196 |" in text
        assert "| dog: 0.7 ± 0.0196 | x 0.5 | win | 1 runs, 0.2 min |" in text
        assert text.endswith("1 wins, 0 ties, 0 losses.")

    def test_losses_stand_out(self) -> None:
        assert "| +0.5 | **loss** |" not in tables.pairs(results(uniform(), ours(1.5), metric=SCORE))
        assert "| -0.5 | **loss** |" in tables.pairs(results(uniform(), ours(0.5), metric=SCORE))

    def test_divergence_is_said(self) -> None:
        lost = [run("dog", seed, math.nan, status="diverged") for seed in FINAL_SEEDS]
        some = [run("ldog", seed, math.nan if seed == 100 else 1.0) for seed in FINAL_SEEDS]
        text = tables.peers(results(ours(), lost, some))
        assert "| diverged | 2e+05" in text
        assert "(1 of 5 diverged)" in text

    def test_every_table_is_rectangular(self) -> None:
        top = uniform(0.5, multipliers=(("bias", 2.0),))
        found = results(uniform(), ours(0.6), top, peer("dog", 2.0), peer("rule", 0.7), rules=frozenset({"rule"}))
        for name, made in tables.TABLES.items():
            rows = [entry for entry in made(found).splitlines() if entry.startswith("|")]
            assert len(rows) > 2, name
            assert len({entry.count("|") for entry in rows}) == 1, name
            assert "run`." in made(results()), name
        assert "| bias x2 |" in tables.ceiling(found)
        assert "| 80% |" in tables.ceiling(found)


class TestCommands:
    def write(self, folder: Path) -> Path:
        pair = Pair("rosenbrock", "adamw")
        runs = uniform(pair=pair) + ours(0.5, pair=pair) + peer("dog", 0.7, pair=pair)
        (folder / "rosenbrock-adamw.jsonl").write_text("\n".join(map(line, runs)) + "\n")
        return folder

    def test_score_prints_a_line_per_target(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.score(["--results", str(self.write(tmp_path))]) == 1
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 8
        assert all(
            re.match(rf"T{index} (pass|fail) \S|T{index} fail: no data$", one) for index, one in enumerate(lines, 1)
        )
        assert lines[0].startswith("T1 fail 1 win, 0 ties, 0 losses on 1 pairs; results are missing")

    def test_score_returns_0_only_if_all_pass(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for passed in (True, False):
            targets = (Target("T1", True, "fine"), Target("T2", passed, "so"))
            monkeypatch.setattr(cli, "all_targets", lambda found, targets=targets: targets)
            assert cli.score(["--results", str(tmp_path)]) == int(not passed)

    def test_score_tells_where(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cli.score(["--verbose", "--results", str(self.write(tmp_path))])
        assert "    missing: digits-vit/adamw: reference, all seeds\n" in capsys.readouterr().out

    def test_table_prints_those_asked_for(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.table(["peers", "--results", str(self.write(tmp_path))]) == 0
        out = capsys.readouterr().out
        assert out.startswith("## peers\n\n| pair | metric | hidlr | dog |")
        assert "## pairs" not in out

    def test_table_refuses_unknown_names(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit):
            cli.table(["pears", "--results", str(tmp_path)])


class TestPlots:
    def test_regrets_are_shares_of_the_improvement(self) -> None:
        found = plots.all_regrets(results(uniform(2.0), ours(1.0), peer("dog", 5.0)))
        assert found["hidlr"] == {PAIR: 0.0}
        assert found["tuned uniform"][PAIR] == pytest.approx(0.25)  # curves begin at 5
        assert found["dog"][PAIR] == 1.0

    def test_they_are_drawn(self, tmp_path: Path) -> None:
        drawn = plots.draw(results(uniform(2.0), ours(1.0), peer("dog", 3.0)), tmp_path)
        assert [path.name for path in drawn] == ["profile.png", "curves.png"]
        assert all(path.stat().st_size > 1000 for path in drawn)

    def test_nothing_is_drawn_from_nothing(self, tmp_path: Path) -> None:
        assert plots.draw(results(), tmp_path) == []
