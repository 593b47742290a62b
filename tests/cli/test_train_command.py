import json
import re
from pathlib import Path
from typing import Any

import pytest

from hidlr.cli import main
from hidlr.errors import StateError
from hidlr.training import optimizers


def outcome(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["train", *arguments, "--json"]) == code
    data: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return data


@pytest.mark.usefixtures("real_page")
def test_prints_table_and_paths(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ellipse"]) == 0
    captured = capsys.readouterr()
    assert "a rate for each of 2 groups: 200 steps in" in captured.out
    assert "distance" in captured.out
    assert "curvature" in captured.out
    assert "run     runs/ellipse-001" in captured.out
    assert "report  runs/ellipse-001/report.html" in captured.out
    assert (here / "runs" / "ellipse-001" / "report.html").is_file()
    assert captured.err.splitlines()[-1].startswith("ellipse 200/200  loss ")


@pytest.mark.usefixtures("here")
def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ellipse", "--steps", "10", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert len(captured.out.splitlines()) == 4


@pytest.mark.usefixtures("here")
def test_json_is_one_object_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ellipse", "--steps", "30", "--json"]) == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert data["run"] == "runs/ellipse-001"
    assert data["report"] == "runs/ellipse-001/report.html"
    assert data["final"][data["metric_name"]] < 50
    assert set(data["rates"]) == {"x", "y"}
    assert "ellipse 30/30" in captured.err


def test_settings_reach_the_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = outcome(
        capsys, "diabetes", "--optimizer", "momentum", "--groups", "all", "--start-rate", "1e-4", "--steps", "7",
        "--seed", "5", "--schedule", "cosine", "--engine", "paper", "--overhead", "0.3", "--out", "mine",
    )  # fmt: skip
    config = data["config"]
    assert config == json.loads((here / "mine" / "run.json").read_text())["config"]
    assert (config["optimizer"], config["groups"], config["start_rate"]) == ("momentum", "all", 1e-4)
    assert (config["steps"], config["seed"], config["schedule"]) == (7, 5, "cosine")
    assert (config["engine"], config["overhead"], config["device"]) == ("paper", 0.3, "cpu")


@pytest.mark.usefixtures("here")
def test_uniform_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "ellipse", "--rate", "3e-3", "--warmup", "0.1", "--steps", "20"]) == 0
    text = capsys.readouterr().out
    assert "rate 0.003: 20 steps" in text
    assert "curvature" not in text


@pytest.mark.usefixtures("here")
def test_each_run_gets_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [outcome(capsys, "ellipse", "--steps", "3")["run"] for _ in range(2)]
    assert runs == ["runs/ellipse-001", "runs/ellipse-002"]


@pytest.mark.usefixtures("here")
def test_compare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "grid", lambda name: (1e-3, 3e-3))
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setenv("COLUMNS", "110")
    assert main(["train", "ellipse", "--steps", "20", "--compare"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^ ?auto ", text, re.MULTILINE)
    assert re.search(r"^ ?0.003, 10% warm-up .*", text, re.MULTILINE)
    assert text.count("the grid's best") == 1
    assert "The grid took 4 runs" in text
    data = outcome(capsys, "--resume", "runs/ellipse-001", "--compare")
    assert [row["name"] for row in data["comparison"]][:2] == ["auto", "0.001, cold"]


@pytest.mark.usefixtures("here")
def test_resume_with_other_settings_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    outcome(capsys, "ellipse", "--steps", "10")
    assert main(["train", "diabetes", "--resume", "runs/ellipse-001", "--seed", "4"]) == 1
    error = capsys.readouterr().err
    assert "workload: 'diabetes' here, 'ellipse' there; seed: 4 here, 0 there" in error
    assert outcome(capsys, "ellipse", "--steps", "10", "--resume", "runs/ellipse-001")["steps"] == 10


@pytest.mark.usefixtures("here")
def test_diverged_run_fails_and_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "rosenbrock", "--rate", "1", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out, parse_constant=pytest.fail)["diverged_at"] < 20
    assert "start at a lower rate" in captured.err


@pytest.mark.usefixtures("here")
def test_failing_report_is_only_a_warning(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run: Path) -> Path:
        raise StateError("the page is on strike")

    monkeypatch.setattr("hidlr.reports.write_report", fail)
    assert main(["train", "ellipse", "--steps", "5", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["report"] is None
    assert "warning: no report: the page is on strike" in captured.err


@pytest.mark.usefixtures("real_page")
def test_report_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome(capsys, "ellipse", "--steps", "30")
    page = here / "runs" / "ellipse-001" / "report.html"
    page.unlink()
    assert main(["report", "runs/ellipse-001"]) == 0
    assert capsys.readouterr().out == "runs/ellipse-001/report.html\n"
    assert page.is_file()
    assert main(["report", "runs/ellipse-001", "--out", "page.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "page.html"}
    assert (here / "page.html").is_file()
    assert main(["report", "runs/ellipse-001", "--out", "/proc/page.html"]) == 1
    assert "/proc/page.html cannot be written" in capsys.readouterr().err


@pytest.mark.usefixtures("real_page")
def test_report_of_a_damaged_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome(capsys, "ellipse", "--steps", "30")
    (here / "runs" / "ellipse-001" / "metrics.jsonl").write_text("oops\n{}\n")
    assert main(["report", "runs/ellipse-001"]) == 1
    assert "metrics.jsonl" in capsys.readouterr().err
