"""Against whom: uniform rates on a grid, without and with warm-up, as a search by hand would try them."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hidlr.errors import HidlrWarning
from hidlr.training import optimizers
from hidlr.training.config import RunConfig
from hidlr.training.interrupt import Interrupted
from hidlr.training.jsonlines import JsonLines, dump_json, read_lines, write_atomically
from hidlr.training.loop import train
from hidlr.training.pool import map_in_processes, stop_requested
from hidlr.training.result import Result
from hidlr.training.row import Row
from hidlr.training.session import Progress

__all__ = ["WARMUPS", "Comparison", "compare"]

WARMUPS = (0.0, 0.1)
"""Shares of the run to warm up over: a reference without warm-up is too weak (and warm-up is free)."""

_REMEDY = "remove it to train its runs again"


@dataclass(frozen=True)
class Comparison:
    """A run, and the grid beside it.

    Attributes:
        own: the run that was compared.
        grid: the uniform runs, in the grid's order.
        best: the one of them that a search by hand would have chosen.
        wall_seconds: how long it took; less than the runs' sum where processes shared the work.
        processes: how many did.
    """

    own: Row
    grid: tuple[Row, ...]
    best: Row
    wall_seconds: float
    processes: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """All runs, the compared one first."""
        return (self.own, *self.grid)

    def to_dict(self) -> dict[str, Any]:
        """What it adds to `result.json`."""
        return {
            "comparison": [{**asdict(row), "chosen": row is self.best} for row in self.rows],
            "grid": {
                "runs": len(self.grid),
                "seconds": sum(row.seconds for row in self.grid),
                "cpu_seconds": sum(row.cpu_seconds for row in self.grid),
                "wall_seconds": self.wall_seconds,
                "processes": self.processes,
            },
        }


def compare(
    result: Result,
    *,
    rates: Sequence[float] | None = None,
    warmups: Sequence[float] = WARMUPS,
    processes: int = 1,
    on_run: Callable[[Row, int, int], None] | None = None,
) -> Comparison:
    """Train the same at uniform rates: same weights, batches, steps, groups, schedule.

    Each finished run is kept in the result's folder (`comparison.jsonl`), so that a comparison cut
    short goes on where it was, and the outcome is added to its `result.json`.

    Args:
        result: the run to compare.
        rates: the grid (lr); None is the optimizer's usual one.
        warmups: shares of the run to warm up over; each rate is tried with each.
        processes: how many to train at a time, one thread each; above 1, the calling script needs the
            `if __name__ == "__main__":` of `multiprocessing`.
        on_run: called after each run with its row, the runs done and the runs in all.

    Raises:
        StateError: the folder's `comparison.jsonl` is damaged.
    """
    config = result.config
    wanted = [
        replace(config, rate=rate, warmup=warmup, eval_every=config.steps)
        for rate in (optimizers.grid(config.optimizer or "") if rates is None else rates)
        for warmup in warmups
    ]
    rows, log = _kept(result.path)
    todo = [one for one in wanted if (one.rate, one.warmup) not in rows]
    began = time.perf_counter()
    try:
        for done, row in enumerate(map_in_processes(train_row, todo, processes), 1):
            rows[row.rate, row.warmup] = row
            if log is not None:
                _append(log, row)
            if on_run is not None:
                on_run(row, len(wanted) - len(todo) + done, len(wanted))
    except Interrupted as stop:  # a run of the grid, which is not the caller's
        raise KeyboardInterrupt from stop
    finally:
        if log is not None:
            log.close()
    grid = tuple(rows[one.rate, one.warmup] for one in wanted)
    comparison = Comparison(
        own=Row.of(result),
        grid=grid,
        best=max(grid, key=lambda row: row.preference(higher=result.higher_is_better)),
        wall_seconds=time.perf_counter() - began,
        processes=processes,
    )
    if result.path is not None:
        _write(result.path / "result.json", {**result.to_dict(), **comparison.to_dict()})
    return comparison


def train_row(config: RunConfig) -> Row:
    """Train without a folder, as long as somebody waits for it."""
    return Row.of(train(config, on_step=_stop_if_asked))


def _stop_if_asked(progress: Progress) -> None:
    del progress
    if stop_requested():
        raise KeyboardInterrupt


def _kept(folder: Path | None) -> tuple[dict[tuple[float | str, float], Row], JsonLines | None]:
    """Runs that an earlier comparison finished, and where to add new ones."""
    if folder is None:
        return {}, None
    path = folder / "comparison.jsonl"
    # Only text after the last newline may be cut short by a killed process.
    length = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
    rows = read_lines(path, length, Row.from_json, _REMEDY)
    return {(row.rate, row.warmup): row for row in rows}, JsonLines(path, offset=length)


def _append(log: JsonLines, row: Row) -> None:
    try:
        log.append(row.to_json())
    except OSError as error:
        _warn(log.path, error)


def _write(path: Path, data: dict[str, Any]) -> None:
    try:
        write_atomically(path, dump_json(data, indent=2))
    except OSError as error:
        _warn(path, error)


def _warn(path: Path, error: OSError) -> None:
    warnings.warn(f"{path} could not be written ({error.strerror}); going on.", HidlrWarning, stacklevel=3)
