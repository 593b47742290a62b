import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

from hidlr.errors import HidlrError, HidlrWarning, InputError
from hidlr.history import History
from hidlr.training import Progress, Result, RunConfig, fresh_folder, train
from hidlr.training import folder as folder_module


def strict(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=pytest.fail)


def test_files_of_a_run(tmp_path: Path) -> None:
    config = RunConfig("rosenbrock", steps=30, eval_every=10)
    result = train(config, tmp_path / "run")
    run = strict(tmp_path / "run" / "run.json")
    assert run["config"]["workload"] == "rosenbrock"
    assert run["config"]["optimizer"] == "sgd"
    assert {"argv", "started", "versions", "hardware", "git_revision"} <= set(run)
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == list(range(30))
    assert [line["step"] for line in metrics if "eval" in line] == [9, 19, 29]
    assert metrics[0]["point"] == [-1.5, 2.0]
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(metrics))
    written = strict(tmp_path / "run" / "result.json")
    assert written["final"] == result.final == metrics[-1]["eval"]
    assert written["surface"]["minimum"] == [1.0, 1.0]
    assert (written["metric_name"], written["higher_is_better"]) == ("loss", False)
    history = History.load(tmp_path / "run" / "history.jsonl")
    assert list(history) == list(result.history)
    assert set(strict(tmp_path / "run" / "influence.json")["sizes"]) == {"x", "y"}
    assert result.problems == ()


def test_nothing_is_written_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(RunConfig("ellipse", steps=3)).path is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("isolated")
def test_callers_random_state_is_left_alone() -> None:
    train(RunConfig("diabetes", steps=3))


def test_same_seed_same_run() -> None:
    first, again, other = (train(RunConfig("diabetes", steps=15, seed=seed)) for seed in (1, 1, 2))
    assert (first.final, first.rates) == (again.final, again.rates)
    assert first.final != other.final


def test_fresh_folders_are_numbered(tmp_path: Path) -> None:
    names = [fresh_folder("digits", tmp_path / "runs").name for _ in range(3)]
    assert names == ["digits-001", "digits-002", "digits-003"]
    assert fresh_folder("ellipse", tmp_path / "runs").name == "ellipse-001"


def test_full_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(InputError, match="is not empty"):
        train(RunConfig("ellipse"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("place", ["/proc/hidlr", "/dev/null", "/dev/null/run"])
def test_unwritable_folder_is_named_before_training(place: str) -> None:
    def fail(progress: Progress) -> None:
        pytest.fail("trained")

    with pytest.raises(HidlrError, match=f"{place} cannot be written .*: name a folder"):
        train(RunConfig("ellipse"), Path(place), on_step=fail)


def test_fresh_folder_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", Path("/proc/runs")):
        with pytest.raises(HidlrError, match=r"is a file|cannot be made"):
            fresh_folder("ellipse", root)


class Disk:
    """Fails between two steps, as a full or unplugged one does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        for name in ("save_checkpoint", "write_atomically"):
            monkeypatch.setattr(folder_module, name, self._guarded(getattr(folder_module, name)))
        flush = folder_module.JsonLines.flush
        monkeypatch.setattr(folder_module.JsonLines, "flush", self._guarded(flush))

    def _guarded(self, function: Any) -> Any:
        def call(*args: Any) -> Any:
            if self.full:
                raise OSError(28, "No space left on device")
            return function(*args)

        return call

    def train(self, out: Path, *, full: range) -> Result:
        def on_step(progress: Progress) -> None:
            self.full = progress.step in full

        with pytest.warns(HidlrWarning, match="could not be written"):
            return train(RunConfig("ellipse", steps=30, checkpoint_every=4), out, on_step=on_step)


def test_disk_full_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(RunConfig("ellipse", steps=30, checkpoint_every=4), tmp_path / "whole")
    result = Disk(monkeypatch).train(tmp_path / "run", full=range(7, 15))
    assert result.final == whole.final
    assert result.problems == ()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(30))


def test_disk_full_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(RunConfig("ellipse", steps=30, checkpoint_every=4), tmp_path / "whole")
    disk = Disk(monkeypatch)
    result = disk.train(tmp_path / "run", full=range(7, 99))
    assert result.final == whole.final
    named = " ".join(result.problems)
    assert all(name in named for name in ("metrics.jsonl", "checkpoint.pt", "result.json"))
    # The checkpoint of step 4 is intact, and with room again the run can be had from there.
    disk.full = False
    again = train(RunConfig("ellipse", steps=30, checkpoint_every=4), tmp_path / "run", resume=True)
    assert again.final == whole.final
    assert strict(tmp_path / "run" / "result.json")["final"] == whole.final


def test_divergence_ends_the_run(tmp_path: Path) -> None:
    result = train(RunConfig("rosenbrock", rate=1.0), tmp_path / "run")
    assert result.diverged_at is not None
    assert result.steps == result.diverged_at + 1 < 200
    written = strict(tmp_path / "run" / "result.json")
    assert written["diverged_at"] == result.diverged_at
    again = train(RunConfig("rosenbrock", rate=1.0), tmp_path / "run", resume=True)
    assert again.diverged_at == result.diverged_at


def test_revision_is_absent_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    train(RunConfig("ellipse", steps=2), tmp_path / "run")
    assert strict(tmp_path / "run" / "run.json")["git_revision"] is None
    monkeypatch.setenv("PATH", os.devnull)
    train(RunConfig("ellipse", steps=2), tmp_path / "other")
    assert strict(tmp_path / "other" / "run.json")["git_revision"] is None


def test_unusable_device_is_named() -> None:
    with pytest.raises(InputError, match="device 'gpu' cannot be used"):
        train(RunConfig("ellipse", device="gpu"))
