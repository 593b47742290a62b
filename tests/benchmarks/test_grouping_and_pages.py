"""The comparison of groupings and the pages' tables, on results made by hand; the pictures are drawn."""

import json
import re
from collections import Counter

import pytest
from benchmarks.scoring.pairs import pair_rows
from benchmarks.scoring.results import load_results

from benchmarks import comparison, grouping
from hidlr.suggesting import GroupSuggestion, SuggestedGroup


def suggestion(*members):
    groups = tuple(
        SuggestedGroup(f"g{k}", own, (), own, len(own), 1.0, 0.1, 1.0, {"lr": 1e-3}) for k, own in enumerate(members)
    )
    return GroupSuggestion(groups, len(members), 0, 10, {})


def test_a_random_partition_has_the_same_sizes():
    found = suggestion(("a", "b", "c"), ("d",), ("e", "f"))
    mixed = grouping.shuffled(found, 0)
    assert sorted(mixed) == list("abcdef")
    assert sorted(Counter(mixed.values()).values()) == [1, 2, 3]
    assert len({str(grouping.shuffled(found, seed)) for seed in range(5)}) > 1


def row(scheme, seed, metric, **more):
    return {
        "workload": "digits-vit", "seed": seed, "groups": scheme, "engine": grouping.engine_hash(), "count": 2,
        "status": "ok", "metric": metric, **more,
    }  # fmt: skip


@pytest.mark.parametrize(("gain", "said"), [(0.01, "role: +0.01, win"), (-0.01, "role: -0.01, loss")])
def test_the_suggestion_is_held_against_the_best_by_hand(gain, said, tmp_path, monkeypatch):
    cost = {"forwards": 100}
    rows = [row("all", seed, 0.8 + seed / 1000) for seed in range(3)]
    rows += [row("role", seed, 0.9 + seed / 1000) for seed in range(3)]
    rows += [row("suggested", seed, 0.9 + gain + seed / 1000, suggestion=cost) for seed in range(3)]
    rows.append({"workload": "digits-vit", "seed": 0, "groups": "head", "engine": "x", "status": "none"})
    grouping.save(tmp_path / "grouping.json", rows)
    assert grouping.load(tmp_path / "grouping.json") == rows
    monkeypatch.setattr(grouping, "RESULT", tmp_path / "grouping.json")
    text = grouping.table()
    assert said in text
    assert "over 3 seeds" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| digits-vit")]
    assert line.count("| -") == 7  # those that were not run, or cannot be


def test_what_other_code_has_done_is_stale():
    assert grouping.current(row("all", 0, 1.0))
    assert not grouping.current({**row("all", 0, 1.0), "engine": "other"})
    assert not grouping.current(row("suggested", 0, 1.0, rule="other"))
    assert grouping.current(row("suggested", 0, 1.0, rule=grouping.rule_hash()))


def test_what_is_there_is_not_done_again(monkeypatch):
    done = {("digits-vit", 0, scheme) for scheme in (*grouping.BY_HAND, "suggested", "random")}
    monkeypatch.setattr(grouping, "suggestion", lambda *_: pytest.fail("measured for nothing"))
    assert list(grouping.runs("digits-vit", 0, None, done)) == []


def test_the_committed_runs_are_complete():
    rows = grouping.load(grouping.RESULT)
    seeds = {row["seed"] for row in rows}
    assert len(seeds) >= 3
    for name in grouping.WORKLOADS:
        for scheme in (*grouping.BY_HAND, "suggested", "random"):
            assert {row["seed"] for row in rows if (row["workload"], row["groups"]) == (name, scheme)} == seeds
    assert not re.search(r"/(?:home|root|tmp)/", json.dumps(rows))


def test_every_problem_of_the_comparison_is_counted_once():
    rows = [line.split("|")[1:-1] for line in comparison.comparison().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 5
    for _, total, *outcomes in rows:
        assert int(total) == sum(map(int, outcomes))


def test_each_loss_is_published_and_nothing_else():
    listed = {line.split("|")[1].strip() for line in comparison.losses().splitlines()[2:]}
    outcomes = {str(row.pair): row.verdict.outcome for row in pair_rows(load_results()) if row.verdict is not None}
    assert listed == {pair for pair, outcome in outcomes.items() if outcome == "loss"}
    assert len(outcomes) > 20


def test_the_pictures(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    from benchmarks import explain

    monkeypatch.setattr("sys.argv", ["explain", "--out", str(tmp_path)])
    monkeypatch.setattr(explain, "STEPS", 10)
    monkeypatch.setattr(explain, "_SIDE", 5)
    explain.main()
    for name in ("parabolas", "plane"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
