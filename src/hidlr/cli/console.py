"""Where output goes: results to stdout, everything on the way to stderr."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from hidlr.errors import HidlrWarning

__all__ = ["notes", "one_thread", "readable_warnings", "results"]

_WIDTH = 110


def results() -> Console:
    """For what was asked for; tables are not squeezed when nobody watches."""
    return _console(sys.stdout)


def notes() -> Console:
    """For progress and remarks."""
    return _console(sys.stderr)


def one_thread() -> None:
    """Keep torch to one thread, unless the environment says otherwise.

    The models here are too small to share: a second thread gains a third on an idle machine and
    costs many times that on a busy one, and results depend on the number.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@contextmanager
def readable_warnings(console: Console) -> Iterator[None]:
    """Print hidlr's own warnings as one line, without the source line of whoever caused them."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, HidlrWarning):
                console.print(f"warning: {message}", markup=False, highlight=False, soft_wrap=True)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _console(file: TextIO) -> Console:
    width = None if file.isatty() or "COLUMNS" in os.environ else _WIDTH
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False)
