"""The run folder: made and tried before the first step, added to at each, never a reason to stop."""

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hidlr.errors import HidlrError, HidlrWarning, InputError, StateError
from hidlr.history import StepRecord
from hidlr.training.checkpoint import load_checkpoint, save_checkpoint
from hidlr.training.config import RunConfig
from hidlr.training.environment import describe
from hidlr.training.jsonlines import JsonLines, dump_json, read_json, read_lines, write_atomically
from hidlr.training.session import Progress, Session

__all__ = ["Recorder", "RunFolder", "fresh_folder", "read_config"]

_LOGS = ("history", "metrics")
_REMEDY = "restore it from a copy, or start again in a new folder"


class Recorder:
    """Where a run is written; this one writes nothing.

    Attributes:
        path: the folder, if there is one.
    """

    path: Path | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be written, one sentence each."""
        return ()

    def record(self, progress: Progress) -> None:
        """Add what a step did."""

    def save(self, session: Session) -> bool:
        """Write a checkpoint; whether there is one now."""
        del session
        return False

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file as a whole."""

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name."""
        del name
        return False

    def close(self) -> None:
        """Write what still waits, and close files."""


class RunFolder(Recorder):
    """A folder with `run.json`, `history.jsonl`, `metrics.jsonl`, `checkpoint.pt` and more at the end.

    Once open it never raises for a disk that fails: it warns once per file, keeps lines that could not
    be written and tries them again with the next.
    """

    def __init__(self, path: Path, offsets: dict[str, int]) -> None:
        self.path = self._path = path
        self._problems: dict[str, str] = {}
        self._logs = {name: JsonLines(path / f"{name}.jsonl", offset=offsets.get(name, 0)) for name in _LOGS}

    @classmethod
    def create(cls, path: Path, session: Session) -> "RunFolder":
        """Make the folder, and write a description and a first checkpoint to see that it can be done.

        Raises:
            InputError: there is something in it already.
            HidlrError: it cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise InputError(f"{path} is not empty: name another folder, or resume the run that is in it.")
            folder = cls(path, {})
            description = {"config": session.config.to_dict(), **describe()}
            (path / "history.jsonl").touch()  # a run without probes has an empty one
            write_atomically(path / "run.json", dump_json(description, indent=2))
            save_checkpoint(path / "checkpoint.pt", session.state_dict(), folder._offsets())
        except OSError as error:
            raise HidlrError(
                f"{path} cannot be written ({error.strerror or error}): name a folder on a disk that is "
                "writable and has space."
            ) from error
        return folder

    @classmethod
    def reopen(cls, path: Path, session: Session) -> "RunFolder":
        """Take up a run where its checkpoint is, and cut off what was written after it.

        Raises:
            StateError: the folder holds no run, one of another config, or a damaged one. Nothing was
                changed then.
            HidlrError: the folder cannot be written.
        """
        differences = session.config.differences(read_config(path))
        if differences:
            raise StateError(f"{path} holds a run with other settings: {'; '.join(differences)}.")
        state, offsets = load_checkpoint(path / "checkpoint.pt")
        records = read_lines(path / "history.jsonl", offsets.get("history", 0), StepRecord.from_json, _REMEDY)
        read_lines(path / "metrics.jsonl", offsets.get("metrics", 0), _check_metric, _REMEDY)
        try:
            session.load_state_dict(state)
        except (StateError, RuntimeError, LookupError, TypeError, ValueError) as error:
            raise StateError(f"{path / 'checkpoint.pt'} does not fit its run ({error}): {_REMEDY}") from error
        for record in records:
            session.control.history.append(record)
        try:
            return cls(path, offsets)
        except OSError as error:
            raise HidlrError(f"{path} cannot be written ({error.strerror}): make it writable.") from error

    def record(self, progress: Progress) -> None:
        """Add the step's line to `metrics.jsonl`, and the probe's to `history.jsonl`."""
        if progress.record is not None:
            line = progress.record.to_json()
            self._try("history.jsonl", lambda: self._logs["history"].append(line))
        line = dump_json(progress.line()).decode()
        self._try("metrics.jsonl", lambda: self._logs["metrics"].append(line))

    def save(self, session: Session) -> bool:
        """Write `checkpoint.pt`; whether that succeeded. It never runs ahead of the other files."""
        return self._try("checkpoint.pt", lambda: self._save(session))

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file as a whole."""
        self._try(name, lambda: write_atomically(self._path / name, dump_json(data, indent=2)))

    def holds(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self._path / name).is_file()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing from the folder, one sentence per file."""
        return tuple(self._problems.values())

    def close(self) -> None:
        """Write what still waits, and close the files."""
        for name, log in self._logs.items():
            self._try(f"{name}.jsonl", log.flush)
            log.close()

    def _save(self, session: Session) -> None:
        for log in self._logs.values():
            log.flush()
            log.sync()
        save_checkpoint(self._path / "checkpoint.pt", session.state_dict(), self._offsets())

    def _offsets(self) -> dict[str, int]:
        return {name: log.offset for name, log in self._logs.items()}

    def _try(self, name: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            problem = f"{self._path / name} could not be written ({error.strerror or error})"
            if name not in self._problems:
                self._problems[name] = problem
                warnings.warn(f"{problem}; training goes on, and tries again.", HidlrWarning, stacklevel=2)
            return False
        self._problems.pop(name, None)
        return True


def fresh_folder(workload: str, root: Path = Path("runs")) -> Path:
    """Make the first numbered folder that does not exist, `runs/digits-001` and so on.

    Raises:
        HidlrError: it cannot be made.
    """
    for number in itertools.count(1):
        path = root / f"{workload}-{number:03d}"
        try:
            root.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if root.is_dir():
                continue
            raise HidlrError(f"{root} is a file: remove it, or name a folder.") from None
        except OSError as error:
            raise HidlrError(f"{path} cannot be made ({error.strerror}): name a folder elsewhere.") from error
        return path
    raise AssertionError


def read_config(path: Path) -> RunConfig:
    """The settings of the run in a folder.

    Raises:
        StateError: it holds no run, or a damaged one.
    """
    file = path / "run.json"
    run = read_json(file, "name the folder of a run")
    try:
        return RunConfig.from_dict(run["config"])
    except (LookupError, TypeError, StateError, InputError) as error:
        raise StateError(f"{file} does not describe a run ({error}): {_REMEDY}") from error


def _check_metric(line: str) -> None:
    entry = json.loads(line)
    if not isinstance(entry, dict) or "step" not in entry:
        raise ValueError("no step")
