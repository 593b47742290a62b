"""Independent runs in a few processes of one thread each, which stop when their parent does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

import torch

from hidlr.errors import HidlrError

__all__ = ["map_in_processes", "stop_requested"]

Item = TypeVar("Item")
Value = TypeVar("Value")

_stop: Event | None = None


def map_in_processes(function: Callable[[Item], Value], items: Sequence[Item], processes: int) -> Iterator[Value]:
    """Yield the function's values as they come; with one process, in this one and in order.

    Args:
        function: importable by name; long ones should look at `stop_requested` from time to time.
        items: its arguments.
        processes: how many to work at a time.

    Raises:
        Exception: whatever the function raises, once.
        HidlrError: a process was killed.
    """
    if processes <= 1 or len(items) <= 1:
        yield from map(function, items)
        return
    # Spawned, not forked: torch's threads and CUDA do not survive a fork.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(min(processes, len(items)), mp_context=context, initializer=_start, initargs=(stop,))
    try:
        with _deaf_children():
            futures = [executor.submit(function, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise HidlrError(
            "a process that trained was killed, perhaps for its memory: use one process (processes=1)."
        ) from error
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def stop_requested() -> bool:
    """Whether this is a process of `map_in_processes` whose work nobody waits for any more."""
    return _stop is not None and _stop.is_set()


def _start(stop: Event) -> None:
    global _stop
    _stop = stop
    torch.set_num_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # An executor's process would wait for work for ever if its parent was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, from their first moment: the parent tells them to stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
