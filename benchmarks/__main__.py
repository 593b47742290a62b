"""`python -m benchmarks run|score|table|paper`."""

import sys
from collections.abc import Sequence

_HELP = """\
usage: python -m benchmarks COMMAND ...

Trains with hidlr, with tuned uniform rates and with what others have published, and says how they compare.

commands:
  run     do the runs that have no result yet
  score   print a line for each target: exit code 0 only if all are met
  table   print tables in Markdown
  paper   the experiments of arXiv 2501.06954, one by one

examples:
  python -m benchmarks run --tier quick                        hidlr alone against stored references (minutes)
  python -m benchmarks run --workload digits-vit               its references and hidlr, with every optimizer
  python -m benchmarks run --tier full --data DIR              everything (many hours; Ctrl-C and resume at will)
  python -m benchmarks run --stage hidlr --stale               after a change of the engine
  python -m benchmarks score -v
  python -m benchmarks table pairs
  python -m benchmarks paper --list

Each command has --help. The other benchmarks are modules: python -m benchmarks.overhead, .estimators.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Hand over to a command, which imports what it needs.

    Args:
        argv: arguments without the program's name; None takes the process's own.

    Returns:
        The exit code: 0 all went well, 1 it failed, 2 the command line cannot work, 130 Ctrl-C.
    """
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help"):
        print(_HELP, end="")
        return 0
    if command not in ("run", "score", "table", "paper"):
        print(f"python -m benchmarks: unknown command {command!r}: there are run, score, table, paper", file=sys.stderr)
        return 2
    from hidlr.errors import HidlrError

    try:
        if command == "run":
            from benchmarks.command import run

            return run(rest)
        if command == "paper":
            from benchmarks.paper.command import paper

            return paper(rest)
        from benchmarks.scoring import cli

        return cli.score(rest) if command == "score" else cli.table(rest)
    except SystemExit as stop:  # argparse has printed help (0) or the error (2)
        return int(stop.code or 0)
    except (HidlrError, ValueError) as error:
        print(f"python -m benchmarks: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("python -m benchmarks: interrupted; results are kept, run it again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
