"""The command, from runs to pages, on an experiment of seconds."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.paper import figures, functions, pages, registry
from benchmarks.paper.arms import Arm, Row, ours, uniform
from benchmarks.paper.command import do
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import QUICK, Tier
from benchmarks.paper.finder import find, kind
from benchmarks.paper.runs import Runs, load
from benchmarks.paper.walk import measured
from benchmarks.run import RunConfig
from benchmarks.store import Store

from hidlr.errors import InputError, StateError


class Tiny(MethodComparison):
    name = "tiny"
    title = "Tiny"
    claim = "It runs."
    figure = "Bars."

    def rows(self, tier: Tier) -> Sequence[Row]:
        return [Row("digits-softmax", "digits", kind("digits-softmax"), 6, batch=16)]

    def arms(self, row: Row) -> Sequence[Arm]:
        return (uniform("linear", (1e-3, 1e-2), "linear", groups="all"), ours("hidlr", "tensor"))


def test_runs_are_done_once_and_drawn(tmp_path: Path) -> None:
    experiment, folder = Tiny(), tmp_path / "quick" / "tiny"
    first = do(experiment, QUICK, folder, None)
    assert (len(first.results), first.problems) == (2 + 3 + 3, {})
    assert all(result["status"] == "ok" for result in first.results)
    assert len(do(experiment, QUICK, folder, None).results) == 0
    again = do(experiment, QUICK, folder, None, again=lambda result: result["config"]["method"] == "hidlr")
    assert len(again.results) == 3
    runs = load(folder)
    assert len(runs) == 8  # the repeated ones took the place of the old
    assert {result["engine"] for result in runs} == {first.results[0]["engine"]}
    assert experiment.judge(runs).outcome in ("holds", "holds in part", "does not hold")
    assert "hidlr" in experiment.table(runs)
    figure = experiment.draw(runs)
    assert figure is not None
    figures.save(figure, tmp_path / "a.svg")
    figures.save(experiment.draw(runs), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_an_experiment_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(functions, "_STEPS", 3)
    monkeypatch.setattr(functions, "_STARTS", (1e-2,))
    command = ["paper", "functions", "--results", str(tmp_path), "--draw", str(tmp_path / "pictures")]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert shown.count("| Two-dimensional functions |") == 1
    assert (tmp_path / "pictures" / "functions.svg").read_text().startswith("<?xml")
    files = (tmp_path / "quick" / "functions").glob("*.jsonl")
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert len(lines) == 3 * 7 * 3
    assert {json.loads(line)["status"] for line in lines} <= {"ok", "diverged"}
    assert main(command) == 0
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "quick").rglob("*.jsonl")) == len(lines)
    assert main(["paper", "functions", "--results", str(tmp_path), "--verdicts"]) == 0


def test_the_list_and_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(registry.NAMES)
    assert main(["paper", "fig1", "--real"]) == 1
    assert "fig1 has no --real" in capsys.readouterr().err
    assert main(["paper", "tabel1"]) == 1
    assert "did you mean 'table1'" in capsys.readouterr().err


def test_data_that_is_absent_is_told_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HIDLR_DATA", raising=False)
    assert main(["paper", "multitask", "--results", str(tmp_path)]) == 1
    assert "HIDLR_DATA=DIR" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("name", registry.NAMES)
def test_every_experiment_has_a_plan_a_page_and_a_verdict(name: str) -> None:
    experiment = registry.get(name)
    assert experiment.name == name
    assert all((experiment.title, experiment.claim, experiment.figure))
    root = Path(pages.__file__).parents[2]
    page = root / "docs" / "paper" / f"{name}.md"
    assert f"<!-- table:paper_{name.replace('-', '_')} -->" in page.read_text(encoding="utf-8")
    assert name in (root / "docs" / "paper" / "index.md").read_text(encoding="utf-8")
    if experiment.source == "influence":
        return
    assert experiment.judge(Runs(())).outcome == "not run"
    for tier in (tier for tier in registry.TIERS.values() if experiment.has_real or not tier.real):
        searches = experiment.searches(tier)
        assert searches
        assert len({search.name for search in searches}) == len(searches)
        assert all(search.estimate >= 3 for search in searches)


def test_names_say_length_and_batch() -> None:
    workload = find("digits-softmax@7x5")
    assert workload.defaults.steps == 7
    assert len(workload.batch(0, 0)[0]) == 5
    assert find("digits-softmax").defaults.steps == kind("digits-softmax").defaults.steps != 7
    with pytest.raises(InputError, match="no batches"):
        find("ellipse@7x5")
    with pytest.raises(InputError, match="unknown workload"):
        find("elipse@7")


def test_a_line_that_was_cut_short_is_left_out_and_another_is_told(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for seed in (100, 101):
            store.add(measured(RunConfig("digits-softmax@6", "adamw", "uniform", seed, 1e-3), {}))
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][:40])
    assert len(load(tmp_path)) == len(lines) - 1
    path.write_text("{oops\n" + "".join(lines))
    with pytest.raises(StateError, match="line 1 is damaged"):
        load(tmp_path)
