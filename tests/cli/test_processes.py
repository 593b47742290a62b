"""What only a process of its own shows: signals, a full disk, a shell's view of the output."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hidlr.cli import main

Start = Callable[..., "subprocess.Popen[str]"]


def wait_for(path: Path, lines: int, process: "subprocess.Popen[str]") -> None:
    """Wait until a run has done so many steps."""
    for _ in range(3000):
        if path.exists() and path.read_bytes().count(b"\n") >= lines:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail("the run did not begin")


def steps_of(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


def history_of(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_run_resumes_to_the_same(
    number: signal.Signals, start: Start, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("train", "diabetes", "--steps", "240", "--quiet")
    process = start(*arguments)
    stopped = here / "runs" / "diabetes-001"
    wait_for(stopped / "metrics.jsonl", 60, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out == ""
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert err.splitlines()[-1] == "  hidlr train --resume runs/diabetes-001"
        assert "saved" in err
        assert "Traceback" not in err
    else:
        assert process.returncode == -signal.SIGKILL
    assert len(steps_of(stopped)) < 240
    assert main(["train", "--resume", str(stopped), "--quiet"]) == 0
    assert main([*arguments]) == 0
    whole = here / "runs" / "diabetes-002"
    assert steps_of(stopped) == steps_of(whole)
    assert history_of(stopped) == history_of(whole)
    results = [json.loads((run / "result.json").read_text()) for run in (stopped, whole)]
    assert results[0]["final"] == results[1]["final"]
    assert results[0]["rates"] == results[1]["rates"]


@pytest.mark.slow
def test_ctrl_c_in_the_comparison_keeps_what_is_done(start: Start, here: Path) -> None:
    process = start("train", "ellipse", "--steps", "3000", "--compare")
    rows = here / "runs" / "ellipse-001" / "comparison.jsonl"
    wait_for(rows, 1, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "hidlr train --resume runs/ellipse-001 --compare" in err
    assert "Traceback" not in err
    assert rows.read_text().count("\n") >= 1
    assert json.loads((rows.parent / "result.json").read_text())["steps"] == 3000


def test_full_disk_ends_with_the_result(here: Path, start: Start) -> None:
    """A limit on the size of files stands in for a disk that fills up during the run."""
    script = (
        "import resource, sys, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        "from hidlr.cli import main\n"
        "sys.exit(main(['train', 'ellipse', '--steps', '400', '--json', '--quiet']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    data = json.loads(done.stdout)
    assert data["steps"] == 400
    assert "metrics.jsonl could not be written (" in done.stderr
    warned = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert len(set(warned)) == len(warned) <= 6
    assert "Traceback" not in done.stderr
    del start


@pytest.mark.parametrize("columns", ["40", "120"])
def test_plain_output_in_a_plain_world(columns: str, start: Start) -> None:
    """No terminal, ASCII only, a narrow page: nothing but text comes out, and all of it."""
    process = start(
        "train", "ellipse", "--steps", "40", "--out", "läufe",
        PYTHONIOENCODING="ascii", LC_ALL="C", TERM="dumb", COLUMNS=columns,
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "\x1b" not in out + err
    assert len(err.splitlines()) == 10
    assert out.isascii()
    assert "report  l\\xe4ufe/report.html" in out
