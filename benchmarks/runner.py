"""Many runs in a few processes: searches ask for batches of runs, and a scheduler keeps every process busy.

Nothing is kept but the results files: a search that is started again gets what it asked for before from there,
and goes on where it stopped.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import workloads
from benchmarks.pool import Done, Pool
from benchmarks.progress import Progress
from benchmarks.run import Finder, Result, RunConfig
from benchmarks.store import Store
from hidlr.errors import HidlrError

__all__ = ["Outcome", "Search", "Steps", "drive", "each", "run_all"]

Steps = Generator[Sequence[RunConfig], list[Result], Any]
"""Yields configs, is sent their results in the same order, returns what it found."""

_AHEAD = 2  # runs that should be ready for each process, beside the one it does


@dataclass
class Search:
    """A search under way.

    Attributes:
        name: what people call it.
        pair: workload and optimizer whose results file it fills.
        steps: its course.
        estimate: how many runs it will ask for, roughly.
        batch: what it asked for last.
        missing: identities of those of them that it waits for.
        asked: how many it asked for so far.
    """

    name: str
    pair: tuple[str, str]
    steps: Steps
    estimate: int
    batch: list[RunConfig] = field(default_factory=list, init=False)
    missing: set[str] = field(default_factory=set, init=False)
    asked: int = field(default=0, init=False)


@dataclass
class Outcome:
    """What came of all searches.

    Attributes:
        values: what each search returned, by name; those that failed are not there.
        results: new results, in the order in which they came.
        problems: why a search could not go on, by name.
        seconds: processes' time on new runs.
    """

    values: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def each(configs: Sequence[RunConfig]) -> Steps:
    """A search that asks for all at once, and returns their results."""
    return (yield configs)


def run_all(
    configs: Iterable[RunConfig],
    results_folder: Path,
    data: Path | None = None,
    processes: int = 2,
    *,
    find: Finder = workloads.get,
    again: Callable[[Result], bool] = lambda result: False,
    progress: Progress | None = None,
) -> Outcome:
    """Do every run that has no result yet, and append its result to the workload's and optimizer's file.

    Args:
        configs: the runs.
        results_folder: its files are `<workload>-<optimizer>.jsonl`.
        data: the data folder.
        processes: how many runs at a time.
        find: where workloads come from; importable by name.
        again: stored results that do not count.
        progress: where to tell how far it is; None tells nothing.

    Raises:
        BusyError: another runner writes one of the files.
    """
    pairs: dict[tuple[str, str], list[RunConfig]] = {}
    for config in configs:
        pairs.setdefault(config.pair, []).append(config)
    searches = [Search(" ".join(pair), pair, each(own), len(own)) for pair, own in sorted(pairs.items())]
    with Store(results_folder, again=again) as store, Pool(processes, data, find) as pool:
        return drive(searches, store, pool, progress)


def drive(searches: Sequence[Search], store: Store, pool: Pool, progress: Progress | None = None) -> Outcome:
    """Take searches to their ends, a few at a time, in this order.

    A worker that dies is a result of its run ("error"). Data or a package that is absent ends the searches that
    need it: `Outcome.problems`.

    Raises:
        BusyError: another runner writes the results of one of them.
    """
    store.claim(search.pair for search in searches)
    return _Drive(store, pool, progress or Progress.silent()).run(searches)


class _Drive:
    """The scheduler: which searches are under way, and which runs are ready for a process."""

    def __init__(self, store: Store, pool: Pool, progress: Progress) -> None:
        self._store = store
        self._pool = pool
        self._progress = progress
        self._active: list[Search] = []
        self._ready: dict[str, RunConfig] = {}
        self._outcome = Outcome()

    def run(self, searches: Sequence[Search]) -> Outcome:
        waiting = deque(searches)
        self._progress.expect(sum(search.estimate for search in searches))
        while waiting or self._active:
            self._serve()
            # A new search only when the others leave processes without work: data of few workloads in memory.
            while waiting and len(self._ready) < self._pool.idle * _AHEAD:
                self._begin(waiting.popleft())
                self._serve()
            if self._pool.running:
                for done in self._pool.wait(timeout=1.0):
                    self._receive(done)
            self._progress.tick(self._pool.running)
        return self._outcome

    def _begin(self, search: Search) -> None:
        self._active.append(search)
        self._advance(search, None)

    def _serve(self) -> None:
        while self._ready and self._pool.idle:
            config = self._next()
            del self._ready[config.identity]
            self._pool.start(config)

    def _next(self) -> RunConfig:
        """The first run whose workload an idle worker has at hand, else the first."""
        loaded = self._pool.loaded()
        ready = self._ready.values()
        return next((config for config in ready if config.workload in loaded), next(iter(ready)))

    def _receive(self, done: Done) -> None:
        self._outcome.seconds += done.seconds
        waiting = [search for search in self._active if done.config.identity in search.missing]
        if done.result is None:
            for search in waiting:
                self._fail(search, done.problem)
            return
        self._store.add(done.result)
        self._outcome.results.append(done.result)
        self._progress.done(done, self._pool.processes)
        for search in waiting:
            search.missing.discard(done.config.identity)
            if not search.missing:
                self._advance(search, self._results(search))

    def _advance(self, search: Search, results: list[Result] | None) -> None:
        """Send a search its results, until it asks for something that is not there yet."""
        while True:
            try:
                search.batch = list(search.steps.send(results) if results is not None else next(search.steps))
            except StopIteration as stop:
                self._active.remove(search)
                self._outcome.values[search.name] = stop.value
                self._progress.adjust(search.asked - search.estimate)
                return
            except (HidlrError, ImportError) as error:
                self._fail(search, str(error))
                return
            search.asked += len(search.batch)
            missing = {config.identity: config for config in search.batch if self._store.get(config) is None}
            self._progress.found(len(search.batch) - len(missing))
            if missing:
                search.missing = set(missing)
                running = {config.identity for config in self._pool.running}
                self._ready.update((key, config) for key, config in missing.items() if key not in running)
                return
            results = self._results(search)

    def _results(self, search: Search) -> list[Result]:
        found = [self._store.get(config) for config in search.batch]
        return [result for result in found if result is not None]

    def _fail(self, search: Search, problem: str) -> None:
        self._active.remove(search)
        search.steps.close()
        self._outcome.problems[search.name] = problem
        self._progress.adjust(search.asked - len(search.missing) - search.estimate)
        needed = {key for other in self._active for key in other.missing}
        self._ready = {key: config for key, config in self._ready.items() if key in needed}
