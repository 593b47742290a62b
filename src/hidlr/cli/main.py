"""Reads the command line, hands over to one command, and turns what happens into an exit code."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from hidlr.cli import apply, bench, find, finetune, influence, report, select, train
from hidlr.errors import HidlrError, InputError

__all__ = ["main"]

# Each module adds its parser; what is slow to import it imports when run.
_COMMANDS = (train, finetune, report, find, influence, select, apply, bench)

_EPILOG = """\
examples:
  hidlr train digits                 tune the rates of a small vision transformer (10 s)
  hidlr train digits --compare       ... and search a uniform rate by hand beside it (1 min)
  hidlr finetune --model DIR --train a.tsv --dev b.tsv    a text classifier, no rate to set
  hidlr find diabetes                what rates do the groups want, before any training?
  hidlr report runs/digits-001       write the run's page again
  hidlr influence runs/digits-001    which parameters matter
  hidlr select runs/digits-001 --budget 1% -o recipe.json

exit codes: 0 all went well, 1 it failed, 2 the command line cannot work, 130 Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 all went well, 1 it failed, 2 the command line cannot work, 130 Ctrl-C.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed help (0) or the error (2)
        return int(stop.code or 0)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Under an ASCII locale a path or a table cut short is no reason to lose a result.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _fail(error, 2)
    except HidlrError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("hidlr: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; a second complaint at exit would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hidlr",
        description="Learning rates per parameter group, set by the loss's own curvature.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hidlr {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("hidlr")
    except PackageNotFoundError:
        return "(not installed)"


def _fail(error: HidlrError, code: int) -> int:
    print(f"hidlr: error: {error}", file=sys.stderr)
    return code
