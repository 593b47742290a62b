"""`python -m benchmarks paper`: run experiments, draw their figures, print their verdicts."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.command import again
from benchmarks.data import data_folder
from benchmarks.paper import figures, pages, registry
from benchmarks.paper.experiment import Experiment, Tier
from benchmarks.paper.finder import find
from benchmarks.paper.inline import Inline
from benchmarks.paper.runs import Runs, load
from benchmarks.paper.walk import measured
from benchmarks.pool import Pool
from benchmarks.progress import Progress
from benchmarks.run import Result, RunConfig, failed
from benchmarks.runner import Outcome, drive
from benchmarks.store import Store
from hidlr.errors import InputError
from hidlr.reports.theme import has_matplotlib

__all__ = ["do", "paper"]

_EPILOG = """\
examples:
  python -m benchmarks paper --list
  python -m benchmarks paper functions
  python -m benchmarks paper all --quick --data DIR --processes 2    what `make paper-quick` does
  python -m benchmarks paper lora --full --data DIR                  longer runs, five seeds
  python -m benchmarks paper lora --real                             RoBERTa-base and GLUE from the hub
  python -m benchmarks paper all --verdicts                          no runs: what the stored results say

A run that has a result is not repeated. Ctrl-C at will: the next call goes on.
"""


def paper(argv: Sequence[str] | None = None) -> int:
    """Run what has no result yet, then draw and judge.

    Returns:
        0; 1 if a run failed with an error or could not be done.

    Raises:
        InputError: an unknown name.
        BusyError: another runner writes the same results.
    """
    args = _parser().parse_args(argv)
    if args.list or not args.names:
        print("".join(f"{name:12} {registry.get(name).title}\n" for name in registry.NAMES), end="")
        return 0
    names = registry.NAMES if "all" in args.names else args.names
    experiments = [registry.get(name) for name in names]
    if args.real:
        experiments = _real(experiments, everything="all" in args.names)
    tier = registry.TIERS["real" if args.real else "full" if args.full else "quick"]
    console = Console(stderr=True)
    failures = 0
    for experiment in experiments:
        began = time.monotonic()
        folder = args.results / tier.name / experiment.folder
        if not args.verdicts:
            outcome = do(
                experiment, tier, folder, data_folder(args.data), args.processes,
                again=again(stale=args.stale, retry=args.retry), console=console,
            )  # fmt: skip
            failures += _report(experiment, outcome, time.monotonic() - began, console)
        runs = load(folder)
        if args.draw is not None and (len(runs) or experiment.source):
            _draw(experiment, runs, args.draw)
    print(pages.verdicts([(one, load(args.results / tier.name / one.folder)) for one in experiments]))
    return int(failures > 0)


def _real(experiments: Sequence[Experiment], *, everything: bool) -> list[Experiment]:
    """Those that have the paper's own models and data; a name that has not is an error."""
    without = [experiment.name for experiment in experiments if not experiment.has_real]
    if without and not everything:
        raise InputError(f"{without[0]} has no --real: it needs nothing that is not here; leave the option out.")
    return [experiment for experiment in experiments if experiment.has_real]


def do(
    experiment: Experiment,
    tier: Tier,
    folder: Path,
    data: Path | None,
    processes: int = 1,
    *,
    again: Callable[[Result], bool] = lambda result: False,
    console: Console | None = None,
) -> Outcome:
    """Do an experiment's runs that have no result yet; each appends a line to a file in the folder."""
    searches = experiment.searches(tier)
    with Store(folder, again=again) as store, Progress(console) as progress:
        if experiment.measures:
            return drive(searches, store, Inline(partial(_measure, experiment, data)), progress)  # type: ignore[arg-type]
        with Pool(processes, data, find) as pool:
            return drive(searches, store, pool, progress)


def _measure(experiment: Experiment, data: Path | None, config: RunConfig) -> Result:
    workload = find(config.workload, data)
    began = time.perf_counter()
    try:
        found = experiment.measure(config, workload)
    except ArithmeticError as error:
        return failed(config, f"{type(error).__name__}: {error}")
    return measured(config, {"seconds": round(time.perf_counter() - began, 3), **found})


def _report(experiment: Experiment, outcome: Outcome, seconds: float, console: Console) -> int:
    for problem in dict.fromkeys(outcome.problems.values()):
        console.print(f"{experiment.name}: skipped: {problem}", soft_wrap=True, highlight=False)
    new = len(outcome.results)
    console.print(f"{experiment.name}: {new} new runs, {outcome.seconds:.0f} s of runs in {seconds:.0f} s",
                  soft_wrap=True, highlight=False)  # fmt: skip
    return len(outcome.problems) + len([result for result in outcome.results if result["status"] == "error"])


def _draw(experiment: Experiment, runs: Runs, folder: Path) -> None:
    if not has_matplotlib():
        print("figures are left out: pip install matplotlib", file=sys.stderr)
        return
    figure = experiment.draw(runs)
    if figure is not None:
        figures.save(figure, folder / f"{experiment.name}.svg")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks paper",
        description="The experiments of arXiv 2501.06954 and their extensions: runs, figures, verdicts.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    from benchmarks.paper.experiment import RESULTS

    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="an experiment, or all")
    add("--list", action="store_true", help="name them")
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--quick", action="store_true", help="short runs, three seeds (default)")
    tier.add_argument("--full", action="store_true", help="longer runs, five seeds")
    tier.add_argument("--real", action="store_true", help="the paper's models and data: a network and a GPU")
    add("--verdicts", action="store_true", help="run nothing")
    add("--data", metavar="DIR", help="folder of data sets (default: the environment's HIDLR_DATA)")
    add("--results", type=Path, default=RESULTS, metavar="DIR", help="folder of result files")
    add("--draw", type=Path, default=None, metavar="DIR", help="where to put figures, NAME.svg; left out: none")
    add("--processes", type=int, default=1, metavar="N", help="runs at a time, one thread each (default: 1)")
    add("--stale", action="store_true", help="repeat hidlr's runs that another version of the engine did")
    add("--retry", action="store_true", help="repeat runs that failed with an error")
    return parser
