"""A pool of one process, this one, for runs that measure more than a run's end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.pool import Done
from benchmarks.run import Result, RunConfig
from hidlr.errors import HidlrError

__all__ = ["Inline"]


@dataclass
class Inline:
    """What `benchmarks.runner.drive` asks of a pool, one run at a time.

    Attributes:
        do: does a run.
    """

    do: Callable[[RunConfig], Result]
    processes: int = field(default=1, init=False)
    running: list[RunConfig] = field(default_factory=list, init=False)

    @property
    def idle(self) -> int:
        """1 unless a run waits to be done."""
        return self.processes - len(self.running)

    def loaded(self) -> list[str]:
        """Nothing: workloads are cached elsewhere."""
        return []

    def start(self, config: RunConfig) -> None:
        """Take a run, to be done by `wait`."""
        self.running.append(config)

    def wait(self, timeout: float) -> list[Done]:
        """Do it."""
        del timeout
        config = self.running.pop(0)
        began = time.perf_counter()
        result: Result | None = None
        problem = ""
        try:
            result = self.do(config)
        except (HidlrError, ImportError) as error:  # data or a package that is absent: no fault of the run
            problem = str(error)
        return [Done(config, result, problem, time.perf_counter() - began)]
