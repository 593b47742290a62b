import json
import math
from pathlib import Path

import pytest

from hidlr.errors import InputError, StateError
from hidlr.reports.load import load_run
from support.report_runs import RESULT, RUN, Writer, metric_lines, record


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        load_run(tmp_path / "nowhere")


def test_a_folder_without_a_history(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"history\.jsonl"):
        load_run(tmp_path)


def test_all_but_the_history_may_be_absent(write_run: Writer) -> None:
    data = load_run(write_run([record(0)]))
    assert (data.run, data.metrics, data.result, data.notices) == ({}, (), None, ())
    assert set(data.influence.sizes) == {group.name for group in record(0).groups}


def test_a_whole_run(write_run: Writer) -> None:
    influence = {"ppi": {"a": 2.0}, "total": {"a": 1.0}, "sizes": {"a": 4}, "measured": {"a": 1}, "refused": {"a": 0}}
    data = load_run(write_run([record(0)], run=RUN, result=RESULT, metrics=metric_lines(100), influence=influence))
    assert len(data.metrics) == 100
    assert data.metrics[49].evals.keys() == {"accuracy", "test_loss"}
    assert data.influence.ppi == {"a": 2.0}
    assert data.influence.sizes == {"a": 4}
    assert data.result is not None
    assert data.result.metric_name == "accuracy"


@pytest.mark.parametrize("name", ["run.json", "result.json", "influence.json"])
def test_a_file_cut_short_is_left_out_and_said(write_run: Writer, name: str) -> None:
    folder = write_run([record(0)])
    text = json.dumps({"a": {"b": ["some text", 1.5]}}, indent=2)
    for length in range(len(text)):
        (folder / name).write_text(text[:length])
        assert load_run(folder).notices == (f"{name} is cut short and was left out.",)


@pytest.mark.parametrize("name", ["run.json", "result.json", "influence.json"])
def test_a_damaged_file_is_named_with_its_line(write_run: Writer, name: str) -> None:
    folder = write_run([record(0)])
    (folder / name).write_text('{\n"a": 1,\n"b": oops,\n"c": 2}\n')
    with pytest.raises(StateError, match=rf"{name}, line 3 is damaged"):
        load_run(folder)
    (folder / name).write_text("[1]")
    with pytest.raises(StateError, match="expected an object, found list"):
        load_run(folder)


@pytest.mark.parametrize("name", ["metrics.jsonl", "history.jsonl"])
def test_only_the_last_line_may_be_cut_short(write_run: Writer, name: str) -> None:
    folder = write_run([record(0), record(10)], metrics=metric_lines(3))
    whole = (folder / name).read_text()
    (folder / name).write_text(whole[:-20])
    data = load_run(folder)
    assert len(data.records if name == "history.jsonl" else data.metrics) == whole.count("\n") - 1
    (folder / name).write_text(whole[:-20] + "\n" + whole)
    with pytest.raises(StateError, match=rf"{name}, line {whole.count(chr(10))} "):
        load_run(folder)


def test_a_metrics_line_without_a_step(write_run: Writer) -> None:
    folder = write_run([], metrics=[{"step": 0}, {"loss": 1.0}])
    with pytest.raises(StateError, match="line 2 has no step"):
        load_run(folder)


def test_numbers_may_be_words_or_missing(write_run: Writer) -> None:
    lines = [{"step": 0, "loss": "nan", "eval": {"a": "-inf", "b": None}, "point": [1, "inf"]}, {"step": "1"}]
    first, second = load_run(write_run([], metrics=lines)).metrics
    assert math.isnan(first.loss)
    assert first.evals["a"] == -math.inf
    assert math.isnan(first.evals["b"])
    assert first.point == (1.0, math.inf)
    assert math.isnan(second.seconds)


def test_a_step_done_again_after_a_resume_counts_once(write_run: Writer) -> None:
    lines = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 2.0}, {"step": 1, "loss": 3.0}, {"step": 0, "loss": 4.0}]
    assert [metric.loss for metric in load_run(write_run([], metrics=lines)).metrics] == [4.0, 3.0]


@pytest.mark.parametrize(
    "surface",
    [
        {},
        {"x": [0, 1], "y": [0, 1], "z": [[1, 2]]},
        {"x": [0, 1], "y": [0, 1], "z": [[1, 2], [3]]},
        {"x": [0, 1], "y": [0, 1], "z": [[1, 2], [3, 4]], "xlim": [1]},
        [1],
        "x",
    ],
)
def test_a_surface_that_does_not_fit_is_left_out_and_said(write_run: Writer, surface: object) -> None:
    data = load_run(write_run([], result={"surface": surface}))
    assert data.result is not None
    assert data.result.surface is None
    assert "surface" in data.notices[0]


def test_an_influence_of_another_shape_gives_way_to_the_history(write_run: Writer) -> None:
    data = load_run(write_run([record(0)], influence={"something": "else"}))
    assert data.influence.ppi
    assert "influence.json" in data.notices[0]
