"""Results files: append-only JSON Lines, one per workload and optimizer, written by one process at a time."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.run import Result, RunConfig
from hidlr.errors import HidlrError, StateError

try:
    import fcntl
except ImportError:  # Windows: nobody watches over two runners there
    fcntl = None  # type: ignore[assignment]

__all__ = ["BusyError", "Store"]

Pair = tuple[str, str]


class BusyError(HidlrError):
    """Another runner writes the same results."""


class Store:
    """The results under a folder; use as a context manager.

    What is there is answered from memory. A pair is claimed (locked and read) at its first use, or beforehand.

    Args:
        folder: of the results files.
        again: whether a stored result does not count, so that its run is to be repeated.
    """

    def __init__(self, folder: Path, *, again: Callable[[Result], bool] = lambda result: False) -> None:
        self._folder = folder
        self._again = again
        self._files: dict[Pair, BinaryIO] = {}
        self._known: dict[str, Result] = {}

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def claim(self, pairs: Iterable[Pair]) -> None:
        """Lock and read the files of pairs.

        Raises:
            BusyError: another runner has one of them.
            StateError: a line in the middle of a file is damaged.
        """
        for pair in pairs:
            if pair not in self._files:
                self._open(pair)

    def get(self, config: RunConfig) -> Result | None:
        """The result of a config, if there is one that counts."""
        self.claim([config.pair])
        return self._known.get(config.identity)

    def add(self, result: Result) -> None:
        """Append a result; it is on the disk on return."""
        config = RunConfig.from_dict(result["config"])
        self.claim([config.pair])
        file = self._files[config.pair]
        file.write(json.dumps(result, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        self._known[config.identity] = result

    def close(self) -> None:
        """Give the files back; those that nothing was written to leave no trace."""
        for pair, file in self._files.items():
            if os.fstat(file.fileno()).st_size == 0:
                self._path(pair).unlink(missing_ok=True)
            file.close()
        self._files.clear()

    def _open(self, pair: Pair) -> None:
        path = self._path(pair)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        try:
            # The file is its own lock file: the system lifts the lock when its owner dies, however that happens.
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for config, result in _lines(path, cut=file):
                if self._again(result):
                    self._known.pop(config.identity, None)
                else:
                    self._known[config.identity] = result
        except BlockingIOError as error:
            file.close()
            raise BusyError(f"{path} is being written by another runner: wait for it, or use --results DIR.") from error
        except BaseException:
            file.close()
            raise
        self._files[pair] = file

    def _path(self, pair: Pair) -> Path:
        return self._folder / f"{pair[0]}-{pair[1]}.jsonl"


def _lines(path: Path, cut: BinaryIO | None = None) -> Iterator[tuple[RunConfig, Result]]:
    """Configs and results of a file; a last line that was cut short is left out, and cut off `cut`."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            result: dict[str, Any] = json.loads(line)
            yield RunConfig.from_dict(result["config"]), result
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path}, line {number} is damaged ({error}): remove it, and run again.") from error
    if cut is not None and whole < len(data):
        cut.truncate(whole)
