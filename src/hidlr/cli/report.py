"""`hidlr report`: a run folder as one page."""

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
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "report", "write a run's page: rates, fits, influence, curves", _EPILOG)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: RUN/report.html)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path."""
    from hidlr.reports import write_report

    try:
        page = write_report(args.run_folder, args.out)
    except OSError as error:
        target = args.out or args.run_folder
        raise HidlrError(f"{target} cannot be written ({error.strerror}): name a file elsewhere with --out.") from error
    print(json.dumps({"report": str(page)}) if args.json else page)
    return 0
