"""`python -m benchmarks run`: from options to searches, and what came of them."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import optimizers, peers, workloads
from benchmarks.control import OURS
from benchmarks.data import data_folder
from benchmarks.plan import FRESH, QUICK, STAGES, STARTS, Order, plan
from benchmarks.pool import Pool
from benchmarks.progress import Progress, label
from benchmarks.reference import Chosen
from benchmarks.run import Result, engine_hash
from benchmarks.runner import Outcome, Search, drive
from benchmarks.scoring.load import RESULTS
from benchmarks.store import Store
from hidlr.errors import InputError

__all__ = ["again", "run"]

_EPILOG = """\
stages (of each workload with each of its base optimizers):
  reference     the best uniform rate, schedule and warm-up: about 33 runs that choose, then the fresh seeds
  hidlr         from three starting rates
  ceiling       fixed factors per group on the reference, searched by hand: about 60 runs, for 2 to 6 groups
  peers         the paper's algorithm, GeN, and published optimizers at their documented defaults
  heuristics    published ratios between groups, at the reference's rate
  many-groups   hidlr with one group; on shakespeare-gpt also by layer and by tensor
  low-overhead  hidlr with overhead=0.02
  schedules     hidlr under other schedules, and with no end known

examples:
  python -m benchmarks run --tier quick
  python -m benchmarks run --workload digits-vit --optimizer adamw --stage reference
  python -m benchmarks run --stage peers --method prodigy --data DIR
  python -m benchmarks run --stage hidlr --stale
  python -m benchmarks run --suite outside

A run that has a result is not repeated. Ctrl-C at will: the next call goes on.
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Do what has no result yet.

    Returns:
        0; 1 if a run failed or could not be done.

    Raises:
        InputError: an unknown name.
        BusyError: another runner writes the same results.
        KeyboardInterrupt: Ctrl-C; finished runs are kept.
    """
    args = _parser().parse_args(argv)
    order = _order(args)
    searches = plan(order)
    if args.dry_run:
        print("".join(f"{search.name}: {search.estimate} runs\n" for search in searches), end="")
        print(f"about {sum(search.estimate for search in searches)} runs, less those that have a result")
        return 0
    console = Console(stderr=True)
    stale = args.stale or args.tier == "quick"
    outcome = _driven(searches, args, order, again(stale=stale, retry=args.retry), console)
    _report(outcome, console)
    failed = any(result["status"] == "error" for result in outcome.results)
    return int(failed or bool(outcome.problems))


def _driven(
    searches: list[Search], args: argparse.Namespace, order: Order, again: Callable[[Result], bool], console: Console
) -> Outcome:
    with (
        Store(args.results or RESULTS[args.suite], again=again) as store,
        Progress(console) as progress,
        Pool(args.processes, order.data, order.find) as pool,
    ):
        return drive(searches, store, pool, progress)


def _report(outcome: Outcome, console: Console) -> None:
    for name, value in outcome.values.items():
        if isinstance(value, Chosen):
            mean = "-" if value.value is None else f"{value.value:.4g}"
            console.print(
                f"{name}: {label(value.config).rpartition(' seed ')[0]}: {mean} on the seeds that chose it; "
                f"{value.runs} runs of {value.settings} settings, {value.seconds:.0f} s",
                soft_wrap=True,
                highlight=False,
            )
    for problem in dict.fromkeys(outcome.problems.values()):
        names = ", ".join(name for name, own in outcome.problems.items() if own == problem)
        console.print(f"skipped: {problem} ({names})", soft_wrap=True, highlight=False)


def again(*, stale: bool, retry: bool) -> Callable[[Result], bool]:
    """Which stored results do not count."""
    current = engine_hash()

    def repeated(result: Result) -> bool:
        old = result["config"]["method"] in OURS and result.get("engine") != current
        return (stale and old) or (retry and result["status"] == "error")

    return repeated


def _order(args: argparse.Namespace) -> Order:
    _check("workload", args.workload, workloads.SUITES[args.suite])
    _check("optimizer", args.optimizer, optimizers.names())
    _check("method", args.method, ("paper", "gen", *peers.PEERS, *peers.HEURISTICS))
    default = ["hidlr"] if args.tier == "quick" else ["all"] if args.tier == "full" else ["reference", "hidlr"]
    stages = args.stage or default
    order = Order(
        stages=tuple(name for name in STAGES if name in stages or "all" in stages),
        suite=args.suite,
        workloads=tuple(args.workload),
        optimizers=tuple(args.optimizer),
        methods=tuple(args.method),
        starts=args.starts,
        data=data_folder(args.data),
    )
    if args.tier == "quick":
        if not set(QUICK) & set(order.workloads or workloads.SUITES[args.suite]):
            raise InputError(f"the quick tier is of {', '.join(QUICK)}: name one of these, or leave --tier out.")
        order = order.quick()
    return replace(order, seeds=args.seeds or order.seeds)


def _check(kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"unknown {kind} {name!r}: there are {', '.join(known)}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks run",
        description="Do the runs of the benchmark that have no result yet, and append a line for each.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--tier",
        choices=("quick", "full"),
        help="quick: stage hidlr from one start on two seeds, where the stored result is not of this engine, on "
        f"{', '.join(QUICK)}; full: every stage",
    )
    add("--stage", action="append", choices=(*STAGES, "all"), help="see below (default: reference and hidlr)")
    add("--suite", choices=tuple(RESULTS), default="main", help="main: the benchmark; outside: problems outside it")
    add("--workload", action="append", default=[], metavar="NAME", help="only this one; may be repeated")
    add("--optimizer", action="append", default=[], metavar="NAME", help="only this base optimizer; may be repeated")
    add("--method", action="append", default=[], metavar="NAME", help="only this peer or heuristic; may be repeated")
    add("--seeds", type=_numbers(int), metavar="N,...", help=f"that are reported (default: {FRESH[0]} to {FRESH[-1]})")
    starts = ", ".join(f"{start:g}" for start in STARTS)
    add(
        "--starts",
        type=_numbers(float),
        metavar="RATE,...",
        help=f"where hidlr starts (default: {starts}; 1e-4 for low-overhead and schedules)",
    )
    add("--data", metavar="DIR", help="folder of data sets (default: the environment's HIDLR_DATA)")
    add(
        "--results",
        type=Path,
        metavar="DIR",
        help="folder of result files (default: benchmarks/results/runs, or outside)",
    )
    add("--processes", type=int, default=2, metavar="N", help="runs at a time, one thread each (default: 2)")
    add(
        "--stale",
        action="store_true",
        help="repeat hidlr's and the paper's runs that another version of the engine did",
    )
    add("--retry", action="store_true", help="repeat runs that failed with an error")
    add("--dry-run", action="store_true", help="only say what would be run")
    return parser


def _numbers(kind: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def numbers(text: str) -> tuple[Any, ...]:
        return tuple(kind(part) for part in text.split(","))

    numbers.__name__ = f"list of {kind.__name__}"
    return numbers
