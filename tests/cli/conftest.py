import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hidlr

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, from which new processes find the same hidlr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(hidlr.__file__).resolve().parents[1]))
    return tmp_path


@pytest.fixture(autouse=True)
def quick_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is a second of drawing; only tests that ask for `real_page` look at one."""
    if "real_page" not in request.fixturenames:
        monkeypatch.setattr("hidlr.reports.write_report", lambda run: run / "report.html")


@pytest.fixture
def real_page() -> None:
    """Leaves the report as it is."""


@pytest.fixture
def start(here: Path) -> Start:
    """Starts `hidlr` as a process of its own, without a terminal."""

    def run(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "hidlr", *arguments],
            cwd=here,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run
