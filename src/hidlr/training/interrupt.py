"""Ctrl-C at the end of a step, never inside one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Interrupt", "Interrupted", "deferred_interrupt"]


class Interrupted(KeyboardInterrupt):
    """A run was stopped between two steps.

    Attributes:
        step: steps done.
        steps: length of the run.
        path: the folder it can be resumed from as it is; None if it was not saved.
    """

    def __init__(self, step: int, steps: int, path: Path | None) -> None:
        super().__init__(step, steps, path)  # the arguments, so that it can be pickled
        self.step = step
        self.steps = steps
        self.path = path

    def __str__(self) -> str:
        return f"stopped after step {self.step} of {self.steps}"


class Interrupt:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.requested = False


@contextmanager
def deferred_interrupt() -> Iterator[Interrupt]:
    """Note the first SIGINT, so that a step is finished and saved; the second one stops at once.

    Does nothing outside the main thread, where Python cannot handle signals, and in processes that
    were started to ignore SIGINT.
    """
    interrupt = Interrupt()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None):
        yield interrupt
        return

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        if interrupt.requested:
            raise KeyboardInterrupt
        interrupt.requested = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
