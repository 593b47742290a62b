"""`hidlr report`: a run folder as one page, or several side by side."""

import argparse
import json
from pathlib import Path

from hidlr.cli.options import Commands, add_command
from hidlr.errors import HidlrError

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr report runs/digits-001                    writes runs/digits-001/report.html
  hidlr report runs/digits-001 --out digits.html  somewhere else
  hidlr report runs/digits-001 runs/digits-002    side by side, in comparison.html
"""


_COMPARISON = Path("comparison.html")


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(
        commands, "report", "write a run's page, or one of several runs: rates, fits, influence", _EPILOG
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a run; several to compare")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the page (default: RUN/report.html; of several, comparison.html)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from hidlr.reports import write_comparison, write_report

    several = len(args.runs) > 1
    try:
        page = write_comparison(args.runs, args.out or _COMPARISON) if several else write_report(args.runs[0], args.out)
    except OSError as error:
        target = args.out or (_COMPARISON if several else args.runs[0])
        raise HidlrError(f"{target} cannot be written ({error.strerror}): name a file elsewhere with --out.") from error
    print(json.dumps({"report": str(page)}) if args.json else page)
    return 0
