import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.command import again
from benchmarks.progress import Progress, label
from benchmarks.run import RunConfig, engine_hash
from benchmarks.runner import Search, Steps, drive, each, run_all
from benchmarks.store import BusyError, Store
from toys import InlinePool, config, find, result_of

from hidlr import cli
from hidlr.errors import StateError


def line_of(folder: Path, name: str = "line-sgd") -> list[dict]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


class TestStore:
    def test_answers_what_it_was_given(self, tmp_path: Path) -> None:
        result = result_of(config(), 1.5)
        with Store(tmp_path) as store:
            assert store.get(config()) is None
            store.add(result)
            assert store.get(config()) == result
        with Store(tmp_path) as store:
            assert store.get(config()) == result
            assert store.get(config(seed=1)) is None

    def test_last_line_counts(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            for metric in (1.0, 2.0):
                store.add(result_of(config(), metric))
        with Store(tmp_path) as store:
            assert store.get(config())["metric"] == 2
        assert len(line_of(tmp_path)) == 2

    def test_result_that_does_not_count(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.add(result_of(config(), 1.0, status="error"))
            store.add(result_of(config(seed=1), 1.0))
        with Store(tmp_path, again=lambda result: result["status"] == "error") as store:
            assert store.get(config()) is None
            assert store.get(config(seed=1)) is not None
            store.add(result_of(config(), 3.0))
            assert store.get(config())["metric"] == 3

    def test_line_cut_short_is_cut_off(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.add(result_of(config(), 1.0))
        with (tmp_path / "line-sgd.jsonl").open("a") as file:
            file.write('{"config": {"workl')
        with Store(tmp_path) as store:
            assert store.get(config()) is not None
            store.add(result_of(config(seed=1), 1.0))
        assert [line["config"]["seed"] for line in line_of(tmp_path)] == [0, 1]

    def test_damage_in_the_middle_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "line-sgd.jsonl").write_text("{}\n")
        with Store(tmp_path) as store, pytest.raises(StateError, match=r"line-sgd.jsonl, line 1 is damaged"):
            store.get(config())

    def test_one_runner_at_a_time(self, tmp_path: Path) -> None:
        pytest.importorskip("fcntl")
        with Store(tmp_path) as first, Store(tmp_path) as second:
            first.claim([("line", "sgd")])
            with pytest.raises(BusyError, match="another runner"):
                second.claim([("line", "sgd")])
            second.claim([("line", "adamw")])  # other files are free
        with Store(tmp_path) as third:
            third.claim([("line", "sgd")])

    def test_nothing_written_leaves_nothing(self, tmp_path: Path) -> None:
        with Store(tmp_path) as store:
            store.get(config())
        assert not list(tmp_path.iterdir())


def search(steps: Steps, name: str = "search", workload: str = "line") -> Search:
    return Search(name, (workload, "sgd"), steps, 3)


class TestDrive:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with Store(tmp_path) as store:
            yield store

    def test_results_come_in_the_order_asked(self, store: Store) -> None:
        asked = [config(seed=seed) for seed in (3, 1, 2, 1)]
        outcome = drive([search(each(asked))], store, InlinePool())
        results = outcome.values["search"]
        assert [result["config"]["seed"] for result in results] == [3, 1, 2, 1]
        assert len(outcome.results) == 3

    def test_search_goes_on_from_results(self, store: Store, tmp_path: Path) -> None:
        def halving() -> Steps:
            rate = 0.4
            while True:
                first, second = yield [config(rate=rate), config(rate=rate / 2)]
                if second["metric"] >= first["metric"]:
                    return rate
                rate /= 2

        pool = InlinePool()
        found = drive([search(halving())], store, pool).values["search"]
        assert len(pool.log) == len(set(pool.log)) == len(line_of(tmp_path))
        again = InlinePool()
        assert drive([search(halving())], store, again).values["search"] == found
        assert not again.log

    def test_searches_fill_each_others_gaps(self, store: Store) -> None:
        def slow(method: str) -> Steps:
            for seed in range(6):  # one at a time: alone, it would leave a process without work
                yield [config(seed=seed, method=method)]

        pool = InlinePool()
        drive([search(slow("uniform"), "a"), search(slow("hidlr"), "b")], store, pool)
        assert pool.busy[:-1] == [2] * 11

    def test_what_two_ask_for_is_done_once(self, store: Store) -> None:
        pool = InlinePool()
        outcome = drive([search(each([config()]), "a"), search(each([config()]), "b")], store, pool)
        assert len(pool.log) == 1
        assert set(outcome.values) == {"a", "b"}

    def test_absent_data_ends_its_own_searches_only(self, store: Store, tmp_path: Path) -> None:
        absent = [config(seed=seed, workload="absent") for seed in range(20)]
        pool = InlinePool()
        outcome = drive([search(each(absent), "absent", "absent"), search(each([config()]))], store, pool)
        assert set(outcome.values) == {"search"}
        assert "absent.csv" in outcome.problems["absent"]
        assert len(pool.log) <= 3
        store.close()
        assert [path.name for path in tmp_path.iterdir()] == ["line-sgd.jsonl"]

    def test_failed_run_is_a_result(self, store: Store) -> None:
        outcome = drive([search(each([config(method="nothing")]))], store, InlinePool())
        assert [result["status"] for result in outcome.values["search"]] == ["error"]


def test_processes(tmp_path: Path) -> None:
    """A worker that dies is a result; the others' runs, and those after it, are done."""
    configs = [config(seed=seed) for seed in range(4)]
    configs[1:1] = [config(workload="deadly"), config(workload="absent")]
    outcome = run_all(configs, tmp_path, processes=2, find=find)
    assert sorted(result["status"] for result in outcome.results) == ["error", "ok", "ok", "ok", "ok"]
    assert [line["note"] for line in line_of(tmp_path, "deadly-sgd")] == [
        "the process that ran it died (exit code 7): memory?"
    ]
    assert set(outcome.problems) == {"absent sgd"}
    assert sorted(line["config"]["seed"] for line in line_of(tmp_path)) == [0, 1, 2, 3]
    again = run_all(configs[:1] + configs[3:], tmp_path, processes=2, find=find)
    assert not again.results
    assert len(again.values["line sgd"]) == 4


def test_progress_tells_what_is_left() -> None:
    progress = Progress()
    progress.expect(10)
    progress.found(4)
    assert progress.line() == "4/10 runs, 4 from file"


def test_label() -> None:
    run = RunConfig("line", "sgd", "uniform", 3, 0.01, warmup=0.1, multipliers=(("bias", 4.0),))
    assert label(run) == "line sgd uniform 0.01 linear 10% warm-up bias=4 seed 3"


class TestCommand:
    def test_help_and_mistakes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == 0
        assert "examples:" in capsys.readouterr().out
        assert main(["rnu"]) == 2
        assert "there are run, score, table, paper" in capsys.readouterr().err
        assert main(["run", "--help"]) == 0
        assert "--tier quick" in capsys.readouterr().out
        assert main(["run", "--workload", "nothing"]) == 1
        assert "unknown workload 'nothing'" in capsys.readouterr().err

    def test_runs_and_repeats_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with Store(tmp_path) as store:
            for seed in (100, 101):
                store.add(result_of(RunConfig("rosenbrock", "adamw", "hidlr", seed, 1e-4), -3.0, engine=engine_hash()))
        line = ["run", "--tier", "quick", "--workload", "rosenbrock", "--results", str(tmp_path)]
        assert main([*line, "--dry-run"]) == 0
        assert "rosenbrock adamw hidlr: 2 runs" in capsys.readouterr().out
        assert main(line) == 0
        assert "2/2 runs, 2 from file" in capsys.readouterr().err

    def test_what_does_not_count(self) -> None:
        old = result_of(config(method="hidlr"), 1.0, engine="before")
        assert again(stale=True, retry=False)(old)
        assert not again(stale=False, retry=True)(old)
        assert not again(stale=True, retry=False)({**old, "engine": engine_hash()})
        assert not again(stale=True, retry=False)(result_of(config(), 1.0, engine="before"))  # no engine in it
        assert again(stale=False, retry=True)(result_of(config(), None, status="error"))

    def test_hidlr_bench_hands_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "src" / "hidlr").mkdir(parents=True)
        (tmp_path / "benchmarks").mkdir()
        (tmp_path / "benchmarks" / "__init__.py").touch()
        (tmp_path / "benchmarks" / "__main__.py").write_text(
            'import sys\nif __name__ == "__main__":\n    sys.exit(sys.argv[1:] == ["run", "--tier", "quick"] and 5)'
        )
        monkeypatch.chdir(tmp_path)
        assert cli.main(["bench", "run", "--tier", "quick"]) == 5
        assert cli.main(["bench", "__main__"]) == 2
