"""`hidlr influence`: which groups matter, from runs or from a model and data."""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.cli.options import Commands, add_command
from hidlr.cli.pictures import save_figure
from hidlr.errors import HidlrError, InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from hidlr.influence import Influence

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr influence runs/digits-001                        a table, and runs/digits-001/influence.png
  hidlr influence runs/a runs/b --out both.svg           two runs side by side
  hidlr influence --model minilm --data SST-2.train.tsv  measure a model of transformers; writes influence.json
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "influence", "which parameters matter, in runs or in a model", _EPILOG)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders, or influence files")
    parser.add_argument("--model", type=Path, metavar="DIR", help="measure the transformers model in this folder")
    parser.add_argument("--data", type=Path, metavar="FILE", help="a TSV with a header: texts and labels")
    parser.add_argument("--text", default="sentence", metavar="COLUMN", help="column of texts (default: sentence)")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of labels (default: label)")
    parser.add_argument("--by", default="role_layer", metavar="SCHEME", help="groups (default: role_layer)")
    parser.add_argument("--steps", type=int, default=24, metavar="N", help="length of the short run (default: 24)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="texts in a batch (default: 16)")
    parser.add_argument("--rate", type=float, default=5e-5, metavar="RATE", help="AdamW's lr in it (default: 5e-5)")
    parser.add_argument(
        "--head-steps", type=int, default=40, metavar="N", help="steps in which the head learns first (default: 40)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw and of a new head (default: 0)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the picture, .png, .svg or .pdf")
    parser.add_argument("--save", type=Path, metavar="FILE", help="the numbers (with --model: influence.json)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read or measure, print tables, draw."""
    from hidlr.cli.console import notes, one_thread, readable_warnings, results

    one_thread()
    console = notes()
    if bool(args.runs) == (args.model is not None):
        raise InputError("name run folders, or a model with --model DIR --data FILE")
    with readable_warnings(console):
        found = {_label(path): load_influence(path) for path in args.runs} if args.runs else {"model": _measure(args)}
    save = args.save or (None if args.runs else Path("influence.json"))
    if save is not None:
        if len(found) > 1:
            raise InputError("--save takes one influence: name one run")
        _write(save, next(iter(found.values())))
    picture = save_figure(partial(_figure, found), args.out or _picture_for(args, save), console)
    if args.json:
        numbers = {name: influence.to_dict() for name, influence in found.items()}
        print(json.dumps({"influence": numbers, "picture": None if picture is None else str(picture)}))
        return 0
    out = results()
    for name, influence in found.items():
        out.print(_table(name if len(found) > 1 else "", influence))
    if save is not None:
        out.print(f"saved    {save}", soft_wrap=True)
    if picture is not None:
        out.print(f"picture  {picture}", soft_wrap=True)
    return 0


def load_influence(path: Path) -> "Influence":
    """Of a run folder or of a file.

    Raises:
        HidlrError: it cannot be read, or is neither.
    """
    from hidlr.influence import Influence

    try:
        return Influence.from_run(path) if path.is_dir() else Influence.load(path)
    except OSError as error:
        raise HidlrError(
            f"{path} cannot be read ({error.strerror}): name a run folder or an influence file."
        ) from error


def _measure(args: argparse.Namespace) -> "Influence":
    import torch

    from hidlr.cli.text_task import TextTask
    from hidlr.measuring import measure_influence
    from hidlr.settling import settle_head

    if args.data is None:
        raise InputError("--model needs --data FILE: influence is that on a loss")
    if args.batch < 1:
        raise InputError(f"--batch {args.batch}: at least one text")
    task = TextTask.load(
        args.model,
        args.data,
        text=args.text,
        label=args.label,
        batches=args.steps,
        batch_size=args.batch,
        seed=args.seed,
    )
    if args.head_steps:
        settle_head(task.model, task.closures, steps=args.head_steps)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=args.rate)
    return measure_influence(task.model, task.closures, optimizer=optimizer, steps=args.steps, by=args.by)


def _label(path: Path) -> str:
    return str(path)


def _picture_for(args: argparse.Namespace, save: Path | None) -> Path:
    if save is not None:
        return save.with_suffix(".png")
    first: Path = args.runs[0]
    return first / "influence.png" if first.is_dir() else first.with_suffix(".png")


def _write(path: Path, influence: "Influence") -> None:
    try:
        influence.save(path)
    except OSError as error:
        raise HidlrError(f"{path} cannot be written ({error.strerror}): name a file elsewhere with --save.") from error


def _figure(found: "dict[str, Influence]") -> "Figure":
    from hidlr.reports import heat_figure, share_figure

    try:
        return heat_figure(found)
    except InputError:
        return share_figure(found, budget=0.01)  # groups that span layers


def _table(title: str, influence: "Influence") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hidlr.reports.text import count, number, printable

    table = Table(box=box.SIMPLE_HEAD, title=printable(title) or None, pad_edge=False)
    table.add_column("group")
    for head in ("size", "PPI", "error", "total", "measured", "refused"):
        table.add_column(head, justify="right", no_wrap=True)
    rest = [name for name in influence.sizes if name not in influence.ppi]
    for name in [*influence.ranked, *rest]:
        table.add_row(
            Text(printable(name)),
            count(influence.sizes[name]),
            number(influence.ppi.get(name)),
            number(influence.error.get(name)),
            number(influence.total.get(name)),
            count(influence.measured.get(name, 0)),
            count(influence.refused.get(name, 0)),
        )
    return table
