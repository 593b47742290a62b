"""How far a run is: a bar for people, a line now and then for logs."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Display", "compact", "display"]

_LINES = 10


class Display(Protocol):
    """Shows one task after the other."""

    def update(self, task: str, done: int, total: int, note: str) -> None:
        """Tell how far a task is."""


class Silent:
    """Shows nothing."""

    def update(self, task: str, done: int, total: int, note: str) -> None:
        """Nothing."""


class Bars:
    """A bar for each task."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks = {task.description: task.id for task in progress.tasks}

    def update(self, task: str, done: int, total: int, note: str) -> None:
        """Move the task's bar."""
        if task not in self._tasks:
            self._tasks[task] = self._progress.add_task(task, total=total, note=note)
        self._progress.update(self._tasks[task], completed=done, total=total, note=note)


class Lines:
    """Ten lines for each task."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def update(self, task: str, done: int, total: int, note: str) -> None:
        """Print a line if a tenth of the task is done since the last."""
        if done * _LINES // total > (done - 1) * _LINES // total:
            self._console.print(f"{task} {done}/{total}  {note}", soft_wrap=True)


@contextmanager
def display(console: Console, *, quiet: bool) -> Iterator[Display]:
    """The display that fits: none if quiet, bars on a terminal, lines in a log."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and console.is_interactive:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as progress:
            yield Bars(progress)
    else:
        yield Lines(console)


def compact(rates: Mapping[str, float]) -> str:
    """Rates in few words: each of up to three groups, or the range.

    Example:
        >>> compact({"bias": 1e-2, "rest": 3e-3}), compact({name: 1e-3 * i for i, name in enumerate("abcde", 1)})
        ('bias 1.0e-02, rest 3.0e-03', '1.0e-03..5.0e-03')
    """
    low, high = min(rates.values()), max(rates.values())
    if low == high:
        return f"{low:.1e}"
    if len(rates) <= 3:
        return ", ".join(f"{name} {rate:.1e}" for name, rate in rates.items())
    return f"{low:.1e}..{high:.1e}"
