import json
from pathlib import Path

import pytest

from hidlr.errors import StateError
from hidlr.training import Row, RunConfig, compare, train

RATES = (1e-3, 3e-3)


def test_grid_is_the_same_runs_as_alone(tmp_path: Path) -> None:
    config = RunConfig("diabetes", steps=20, seed=2)
    result = train(config, tmp_path / "run")
    comparison = compare(result, rates=RATES)
    assert [(row.rate, row.warmup) for row in comparison.rows] == [
        ("auto", 0.0),
        (1e-3, 0.0),
        (1e-3, 0.1),
        (3e-3, 0.0),
        (3e-3, 0.1),
    ]
    alone = train(RunConfig("diabetes", steps=20, seed=2, rate=3e-3, warmup=0.1))
    assert comparison.grid[-1].metric == alone.final["val_r2"]
    assert comparison.grid[-1].test == alone.final["test_r2"]
    assert comparison.best.metric == max(row.metric for row in comparison.grid)
    assert comparison.own.metric == result.final["val_r2"]


def test_result_file_gets_the_rows(tmp_path: Path) -> None:
    result = train(RunConfig("ellipse", steps=20), tmp_path / "run")
    compare(result, rates=RATES)
    written = json.loads((tmp_path / "run" / "result.json").read_text(), parse_constant=pytest.fail)
    assert [row["name"] for row in written["comparison"]] == [
        "auto",
        "0.001, cold",
        "0.001, 10% warm-up",
        "0.003, cold",
        "0.003, 10% warm-up",
    ]
    assert sum(row["chosen"] for row in written["comparison"]) == 1
    assert written["grid"]["runs"] == 4
    assert written["surface"]["name"] == "ellipse"
    assert written["final"] == result.final


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    result = train(RunConfig("ellipse", steps=20))
    alone, shared = (compare(result, rates=RATES, processes=n) for n in (1, 2))
    assert [(row.name, row.metric, row.test) for row in alone.grid] == [
        (row.name, row.metric, row.test) for row in shared.grid
    ]


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    result = train(RunConfig("ellipse", steps=20), tmp_path / "run")
    seen: list[str] = []

    def stop(row: Row, done: int, total: int) -> None:
        seen.append(row.name)
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(result, rates=RATES, on_run=stop)
    with (tmp_path / "run" / "comparison.jsonl").open("a") as file:
        file.write('{"name": "cut sho')
    rest: list[tuple[str, int]] = []
    comparison = compare(result, rates=RATES, on_run=lambda row, done, total: rest.append((row.name, done)))
    assert rest == [("0.003, 10% warm-up", 4)]
    assert [row.name for row in comparison.grid[:3]] == seen


def test_damaged_rows_are_named(tmp_path: Path) -> None:
    result = train(RunConfig("ellipse", steps=5), tmp_path / "run")
    (tmp_path / "run" / "comparison.jsonl").write_text("{}\n")
    with pytest.raises(StateError, match=r"comparison\.jsonl, line 1 is damaged.*remove it"):
        compare(result, rates=RATES)


def test_diverged_runs_are_never_the_best() -> None:
    result = train(RunConfig("rosenbrock", steps=20))
    comparison = compare(result, rates=(1e-3, 1.0), warmups=(0.0,))
    assert comparison.best.rate == 1e-3
    assert comparison.grid[1].diverged_at is not None


def test_ties_go_to_the_lower_validation_loss() -> None:
    low, high = (Row("", 1e-3, 0.0, 0.9, 0.9, loss, 1.0, 1.0, None) for loss in (0.2, 0.3))
    assert low.preference(higher=True) > high.preference(higher=True)


def test_row_survives_json() -> None:
    row = Row("auto", "auto", 0.0, float("inf"), 1.0, 0.5, 2.0, 1.5, 7)
    assert Row.from_json(row.to_json()) == row
