"""`hidlr bench`: the benchmarks, which live in the repository and not in the package."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from hidlr.cli.options import Commands, add_command
from hidlr.errors import HidlrError, InputError

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr bench                   which benchmarks there are
  hidlr bench overhead          run one
  hidlr bench overhead --help   what it can be told
  hidlr bench run --tier quick  hidlr on some problems, against stored references
  hidlr bench score             how the results meet each target
"""

# Of the benchmark as a whole: `python -m benchmarks COMMAND`.
_COMMANDS = ("run", "score", "table")


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "bench", "run a benchmark (in a checkout of the repository)", _EPILOG)
    parser.add_argument("name", nargs="?", metavar="NAME", help="the benchmark (default: list them)")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="goes to the benchmark")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Hand over to `python -m benchmarks.NAME`, or to a command of `python -m benchmarks`, in its own process."""
    root = _repository()
    if root is None:
        raise HidlrError(
            "the benchmarks are not part of the installed package: run this in a checkout of hidlr's repository."
        )
    modules = {
        path.stem: f"benchmarks.{path.stem}"
        for path in sorted((root / "benchmarks").glob("*.py"))
        if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
    }
    commands = _COMMANDS if modules.pop("__main__", None) else ()
    names = [*commands, *modules]
    if args.name is None:
        print("\n".join(names))
        return 0
    if args.name not in names:
        raise InputError(f"unknown benchmark {args.name!r}: there are {', '.join(names)}.")
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    target = ["benchmarks", args.name] if args.name in commands else [modules[args.name]]
    command = [sys.executable, "-m", *target, *args.rest]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def _repository() -> Path | None:
    # Other projects have a package called benchmarks too, but not beside src/hidlr.
    for root in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (root / "benchmarks" / "__init__.py").is_file() and (root / "src" / "hidlr").is_dir():
            return root
    return None
