"""`score` and `table`: what the committed results say."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoring.load import RESULTS
from benchmarks.scoring.results import load_results
from benchmarks.scoring.tables import TABLES
from benchmarks.scoring.targets import all_targets

__all__ = ["score", "table"]


def score(argv: Sequence[str] | None = None) -> int:
    """Print a line per target; 0 if all pass, else 1."""
    parser = _parser("score", "print `T1 pass|fail figure` for each target; exit 0 only if all pass")
    parser.add_argument("-v", "--verbose", action="store_true", help="pair by pair, and which runs are missing")
    args = parser.parse_args(argv)
    results = load_results(args.results)
    engines = {run.engine for run in results.runs if run.config.method == "hidlr" and run.engine}
    if len(engines) > 1:
        print(f"hidlr's runs are of {len(engines)} versions of the engine: run them again", file=sys.stderr)
    targets = all_targets(results)
    for target in targets:
        print(target)
        if args.verbose:
            print("".join(f"    {line}\n" for line in target.detail), end="")
    return int(not all(target.passed for target in targets))


def table(argv: Sequence[str] | None = None) -> int:
    """Print tables in Markdown; with --plots draw the pictures too."""
    parser = _parser("table", "print tables of the results in Markdown")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TABLES)} (default: all)")
    parser.add_argument(
        "--suite", choices=tuple(RESULTS), default="main", help="main: the benchmark; outside: problems outside it"
    )
    parser.add_argument("--plots", action="store_true", help="also draw docs/images/profile.png and curves.png")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in TABLES]
    if unknown:
        parser.error(f"unknown table {unknown[0]!r}: there are {', '.join(TABLES)}")
    if args.plots and args.suite != "main":
        parser.error("--plots draws the pictures of the docs, which are of suite main: leave --suite out")
    results = load_results(args.results, args.suite)
    print("\n\n".join(f"## {name}\n\n{TABLES[name](results)}" for name in args.names or TABLES))
    if args.plots:
        from benchmarks.scoring import plots  # matplotlib: only for this

        for path in plots.draw(results):
            print(f"{path} drawn", file=sys.stderr)
    return 0


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=description)
    parser.add_argument("--results", type=Path, metavar="DIR", help="folder of result files")
    return parser
