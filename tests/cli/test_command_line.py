import io
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import hidlr
from hidlr import workloads
from hidlr.cli import main
from hidlr.cli.main import _COMMANDS
from hidlr.training import optimizers

NAMES = [command.__name__.rpartition(".")[2] for command in _COMMANDS]


@pytest.mark.parametrize("command", [[], *([name] for name in NAMES)])
def test_help_has_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert f"  hidlr {' '.join(command)}" in text


def test_help_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The parser cannot ask the registries, which import torch: the lists must not drift apart."""
    main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in (*workloads.names(), *optimizers.names()):
        assert name in text


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, types\n"
        "package = types.ModuleType('hidlr')\n"
        f"package.__path__ = {list(hidlr.__path__)!r}\n"
        "sys.modules['hidlr'] = package\n"
        "from hidlr.cli import main\n"
        "assert main(['train', '--help']) == 0\n"
        "assert not {'torch', 'rich', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["trian"], "trian"),
        (["train", "--rate", "fast"], "fast"),
        (["train", "--steps", "many"], "many"),
        (["train", "--out", "a", "--resume", "b"], "not allowed"),
        (["train", "digit"], "did you mean 'digits'"),
        (["train", "ellipse", "--rate", "0"], "rate=0.0"),
        (["train", "ellipse", "--optimizer", "adamww"], "did you mean 'adamw'"),
        (["train", "ellipse", "--schedule", "step"], "schedule='step'"),
        (["train", "ellipse", "--engine", "mine"], "engine='mine'"),
        (["train", "ellipse", "--groups", "wheels"], "wheels"),
        (["train", "ellipse", "--device", "gpu"], "device 'gpu'"),
        (["train", "ellipse", "--out", "."], "is not empty"),
        (["find", "elipse"], "did you mean 'ellipse'"),
        (["report"], "RUN"),
        (["report", "nowhere"], "nowhere"),
        (["bench", "nothing"], "unknown benchmark"),
    ],
)
@pytest.mark.usefixtures("real_page")
def test_what_cannot_work_is_a_usage_error(
    arguments: list[str], complaint: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "precious").touch()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""
    left = {str(path.relative_to(here)) for path in here.rglob("*")}
    assert left <= {"precious", "runs"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "ellipse", "--out", "/proc/run"], "/proc/run cannot be written"),
        (["train", "ellipse", "--out", "/dev/null"], "/dev/null cannot be written"),
        (["train", "--resume", "nowhere"], "run.json"),
        (["find", "ellipse", "--out", "/proc/plot.png"], "/proc/plot.png cannot be written"),
        (["find", "ellipse", "--out", "plot.docx"], "plot.docx cannot be drawn"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_fails_is_told(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("hidlr: error: ")
    assert complaint in captured.err
    assert captured.out == ""


@pytest.mark.usefixtures("here")
def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hidlr ")


@pytest.mark.usefixtures("here")
def test_ctrl_c_outside_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def press(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hidlr.find.find_rates", press)
    assert main(["find", "ellipse"]) == 130
    assert capsys.readouterr().err == "hidlr: interrupted\n"


def test_find_prints_rates_and_saves_a_plot(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find", "diabetes"]) == 0
    text = capsys.readouterr().out
    assert "bmi" in text
    plot = here / "runs" / "find-diabetes.png"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert main(["find", "diabetes", "--json", "--out", "curves.svg"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["rates"]) >= {"bmi", "bias"}
    assert (here / found["plot"]).is_file()


@pytest.mark.usefixtures("here")
def test_find_without_matplotlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["find", "ellipse", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["plot"] is None
    assert 'pip install "hidlr[plot]"' in captured.err


class TestBench:
    @pytest.fixture
    def repository(self, here: Path) -> Path:
        (here / "src" / "hidlr").mkdir(parents=True)
        (here / "benchmarks").mkdir()
        for name, text in {
            "__init__": "",
            "helper": "",
            "speed": 'import sys\nif __name__ == "__main__":\n    sys.exit(len(sys.argv))',
        }.items():
            (here / "benchmarks" / f"{name}.py").write_text(text)
        return here

    @pytest.mark.usefixtures("repository")
    def test_lists(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["bench"]) == 0
        assert capsys.readouterr().out == "speed\n"

    @pytest.mark.usefixtures("repository")
    def test_hands_over(self) -> None:
        assert main(["bench", "speed", "--fast", "-n", "3"]) == 4

    def test_says_where_they_are(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from hidlr.cli import bench

        monkeypatch.setattr(bench, "__file__", str(here / "a" / "b" / "c" / "d.py"))
        assert main(["bench", "speed"]) == 1
        assert "checkout of hidlr's repository" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_reader_that_leaves_early() -> None:
    """As in `hidlr find ellipse | true`."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from hidlr.cli import main; sys.exit(main(['find', 'ellipse']))"
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run([sys.executable, "-c", code], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_terminal_gets_a_bar_and_a_log_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from hidlr.cli.progress import display

    def shown(*, terminal: bool) -> str:
        file = io.StringIO()
        monkeypatch.setattr(file, "isatty", lambda: terminal)
        monkeypatch.setattr(sys, "stderr", file)
        console = Console(file=file, force_terminal=terminal, width=100, color_system=None)
        with display(console, quiet=False) as bars:
            for step in range(100):
                bars.update("ellipse", step + 1, 100, f"loss {step}")
        return file.getvalue()

    lines = shown(terminal=False)
    assert len(lines.splitlines()) == 10
    assert lines.splitlines()[-1] == "ellipse 100/100  loss 99"
    assert "\x1b" not in lines
    bar = shown(terminal=True)
    assert "\x1b" in bar
    assert "100/100" in bar


@pytest.mark.parametrize("value", ["", "1"])
def test_no_colour_where_none_is_wanted(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from hidlr.cli.console import results

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    file = Terminal()
    monkeypatch.setattr(sys, "stdout", file)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", value)
    results().print("hello", style="bold red")
    assert ("\x1b[1;31m" in file.getvalue()) == (not value)


def test_modules_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command offers the same two functions."""
    module: Any
    for module in _COMMANDS:
        assert isinstance(module, types.ModuleType)
        assert {"add_to", "run"} == set(module.__all__)
