"""Worker processes that outlive many runs and may die at any of them."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.run import Finder, Result, RunConfig, engine_hash, execute, failed
from hidlr.errors import HidlrError

__all__ = ["Done", "Pool"]


@dataclass(frozen=True)
class Done:
    """A run that came back.

    Attributes:
        config: what was run.
        result: its result; None where it could not be run at all.
        problem: why not: data or a package that is absent.
        seconds: wall-clock, all included.
    """

    config: RunConfig
    result: Result | None
    problem: str
    seconds: float


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    config: RunConfig | None = None
    began: float = 0.0
    last: str = ""  # the workload whose data it holds


@dataclass
class Pool:
    """Processes of one thread each, started when first needed; use as a context manager.

    Attributes:
        processes: how many.
        data: the data folder.
        find: where workloads come from.
    """

    processes: int
    data: Path | None
    find: Finder
    _workers: list[_Worker] = field(default_factory=list)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            _stop(worker)
        self._workers.clear()

    @property
    def idle(self) -> int:
        """How many could take a run now."""
        return self.processes - len(self.running)

    @property
    def running(self) -> list[RunConfig]:
        """What is being run."""
        return [worker.config for worker in self._workers if worker.config is not None]

    def loaded(self) -> list[str]:
        """The workloads that idle workers have at hand."""
        return [worker.last for worker in self._workers if worker.config is None and worker.last]

    def start(self, config: RunConfig) -> None:
        """Give a run to an idle worker, one that has its workload at hand if there is one."""
        idle = [worker for worker in self._workers if worker.config is None]
        fresh = len(self._workers) < self.processes
        fitting = [worker for worker in idle if worker.last == config.workload]
        worker = (fitting or idle)[0] if fitting or (idle and not fresh) else self._spawn()
        worker.config, worker.last, worker.began = config, config.workload, time.perf_counter()
        with suppress(OSError):  # it died while idle: `wait` will tell
            worker.pipe.send(config)

    def wait(self, timeout: float) -> list[Done]:
        """The runs that came back since the last call; waits for one, but not for ever."""
        ready = wait([worker.pipe for worker in self._workers if worker.config is not None], timeout)
        return [self._collect(worker) for worker in list(self._workers) if worker.pipe in ready]

    def _collect(self, worker: _Worker) -> Done:
        config = worker.config
        assert config is not None
        try:
            result, problem = worker.pipe.recv()
        except (EOFError, OSError):
            # Its end of the pipe closes with it, so this is how death is heard of.
            self._workers.remove(worker)
            _stop(worker)
            code = worker.process.exitcode
            result, problem = failed(config, f"the process that ran it died (exit code {code}): memory?"), ""
        worker.config = None
        return Done(config, result, problem, time.perf_counter() - worker.began)

    def _spawn(self) -> _Worker:
        # Spawned, not forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.data, self.find), daemon=True)
        with _deaf_children():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker


def _work(pipe: Connection, data: Path | None, find: Finder) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    engine_hash()  # now: the source may change while this process lives
    while True:
        try:
            config = pipe.recv()
        except EOFError:
            return
        answer: tuple[Result | None, str]
        try:
            answer = execute(config, data, find=find), ""
        except HidlrError as error:
            answer = None, str(error)
        except Exception as error:  # noqa: BLE001
            answer = None, f"{type(error).__name__}: {error}"
        pipe.send(answer)


def _die_with_parent() -> None:
    # A run would go on to its end if the parent was killed.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join(5)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start processes that ignore Ctrl-C from their first moment: the parent stops them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
