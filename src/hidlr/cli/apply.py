"""`hidlr apply`: whether and how a recipe fits a model."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.cli.options import Commands, add_command
from hidlr.errors import HidlrError

if TYPE_CHECKING:
    from hidlr.selection import Selection

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr apply recipe.json --model minilm --check                   exit code 0 if it fits, 1 if not
  hidlr apply recipe.json --model minilm                           ... and the names of what is trained
  hidlr apply recipe.json --model large --transfer -o large.json   a recipe for another model of the family

Which parameters train is no part of a saved model: in the training script, call
Selection.load("recipe.json").apply(model).
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "apply", "see what a recipe means for a model", _EPILOG)
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="written by `hidlr select -o`")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="folder of a transformers model")
    parser.add_argument("--check", action="store_true", help="only say whether it fits")
    parser.add_argument("--transfer", action="store_true", help="match by name, depth and role: another model")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="write the recipe for this model")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Load both, match, print."""
    from hidlr.cli.text_task import load_model

    selection = _recipe(args.recipe)
    model = load_model(args.model)
    if args.transfer:
        selection = selection.transfer(model)
    selection.apply(model)
    if args.out is not None:
        try:
            selection.save(args.out)
        except OSError as error:
            raise HidlrError(f"{args.out} cannot be written ({error.strerror}): name a file elsewhere.") from error
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    everything = sum(p.numel() for p in model.parameters())
    if args.json:
        found = {"fits": True, "trained": sum(trained.values()), "parameters": everything, "names": list(trained)}
        print(json.dumps(found))
        return 0
    share = 100 * sum(trained.values()) / everything
    print(f"fits: trains {sum(trained.values()):,} of {everything:,} parameters ({share:.3g}%)")
    if selection.match is not None:
        print(selection.match)
    if not args.check:
        print("\n".join(trained))
    if args.out is not None:
        print(f"recipe  {args.out}")
    return 0


def _recipe(path: Path) -> "Selection":
    from hidlr.selection import Selection

    try:
        return Selection.load(path)
    except OSError as error:
        raise HidlrError(f"{path} cannot be read ({error.strerror}): name a recipe of `hidlr select -o`.") from error
