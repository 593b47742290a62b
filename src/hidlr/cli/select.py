"""`hidlr select`: the groups worth training, as a recipe."""

import argparse
import json
from pathlib import Path

from hidlr.cli.influence import load_influence
from hidlr.cli.options import Commands, add_command
from hidlr.errors import HidlrError

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr select runs/digits-001 --budget 5%                    what would be trained, and why
  hidlr select influence.json --budget 1% -o recipe.json      written down, for `hidlr apply` or Selection.load
  hidlr select runs/digits-001 --threshold 2 --always head    influence per parameter above twice the model's
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "select", "choose the groups worth training", _EPILOG)
    parser.add_argument("source", type=Path, metavar="RUN", help="a run folder, or an influence file")
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument("--budget", metavar="SHARE", help="of the parameters, 1%% or 0.01; or their number")
    rule.add_argument("--threshold", type=float, metavar="PSI", help="times the model's influence per parameter")
    rule.add_argument("--top", type=int, metavar="N", help="number of groups")
    parser.add_argument(
        "--rank", default="ppi", metavar="NAME", help="ppi (per parameter, default) or total (a knapsack)"
    )
    parser.add_argument(
        "--always", action="append", default=[], metavar="GROUP", help="train it anyway; a name or glob"
    )
    parser.add_argument(
        "--never", action="append", default=[], metavar="GROUP", help="freeze it anyway; a name or glob"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the recipe")
    parser.add_argument("--json", action="store_true", help="print the recipe on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Choose, explain, write."""
    from hidlr.selection import parse_budget, select

    selection = select(
        load_influence(args.source),
        budget=None if args.budget is None else parse_budget(args.budget),
        threshold=args.threshold,
        top=args.top,
        rank=args.rank,
        always=args.always,
        never=args.never,
    )
    if args.out is not None:
        try:
            selection.save(args.out)
        except OSError as error:
            raise HidlrError(f"{args.out} cannot be written ({error.strerror}): name a file elsewhere.") from error
    if args.json:
        print(json.dumps(selection.to_dict()))
        return 0
    print(selection.explain())
    if args.out is not None:
        print(f"\nrecipe  {args.out}")
    return 0
