"""How far a benchmark is: one line that moves on a terminal, a line now and then in a log."""

import statistics
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.status import Status

from benchmarks.pool import Done
from benchmarks.run import RunConfig

__all__ = ["Progress", "label"]

_SECONDS = 15.0  # between two lines in a log


class Progress:
    """Counts runs and tells when they will be done; use as a context manager.

    Args:
        console: where to tell; None tells nothing.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._status: Status | None = None
        self._total = 0
        self._found = 0
        self._times: list[float] = []
        self._processes = 1
        self._problems = 0
        self._latest = ""
        self._told = time.monotonic()

    @classmethod
    def silent(cls) -> Self:
        """One that tells nothing."""
        return cls(None)

    def __enter__(self) -> Self:
        if self._console is not None and self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()
        if self._console is not None and self._total:
            self._console.print(self.line(), soft_wrap=True, highlight=False)

    def expect(self, runs: int) -> None:
        """So many runs more, as far as is known."""
        self._total += runs

    def adjust(self, runs: int) -> None:
        """So many more (or fewer) than was thought."""
        self._total += runs

    def found(self, runs: int) -> None:
        """So many had a result already."""
        self._found += runs

    def done(self, done: Done, processes: int) -> None:
        """A run came back."""
        self._times.append(done.seconds)
        self._processes = processes
        result = done.result or {}
        self._problems += result.get("status") == "error"
        metric = result.get("metric")
        value = f"{metric:.4g}" if metric is not None else result.get("status")
        self._latest = f"{label(done.config)}: {value}"
        if result.get("status") == "error" and self._console is not None:
            self._console.print(f"{label(done.config)}: {result['note']}", soft_wrap=True, highlight=False)

    def tick(self, running: Sequence[RunConfig]) -> None:
        """Time goes by."""
        if self._status is not None:
            self._status.update(f"{self.line()} [{len(running)} running]")
        elif self._console is not None and time.monotonic() - self._told > _SECONDS:
            self._told = time.monotonic()
            self._console.print(self.line(), soft_wrap=True, highlight=False)

    def line(self) -> str:
        """Done of expected, seconds a run, time left, the latest result."""
        complete = self._found + len(self._times)
        total = max(self._total, complete)
        parts = [f"{complete}/{total} runs"]
        if self._found:
            parts.append(f"{self._found} from file")
        if self._problems:
            parts.append(f"{self._problems} failed")
        if self._times:
            # The last ones speak for those to come: runs are sorted by workload.
            each = statistics.fmean(self._times[-50:])
            left = timedelta(seconds=round((total - complete) * each / self._processes))
            parts += [f"{each:.1f} s each", f"{left} left"]
        return ", ".join(parts) + (f" | {self._latest}" if self._latest else "")


def label(config: RunConfig) -> str:
    """A run in few words."""
    words = [config.workload, config.optimizer, config.method, f"{config.rate:g}", config.schedule]
    if config.warmup:
        words.append(f"{config.warmup:.0%} warm-up")
    if config.groups:
        words.append(f"by {config.groups}")
    words += [f"{name}={value:g}" for name, value in config.multipliers if value != 1]
    words += [f"{name}={value}" for name, value in config.options]
    return " ".join([*words, f"seed {config.seed}"])
