"""`hidlr find`: what rates a workload's groups want, without training."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.cli.options import Commands, add_command, add_problem_options, explicit_settings
from hidlr.cli.pictures import save_figure

if TYPE_CHECKING:
    pass

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr find digits                            a table, and runs/find-digits.png
  hidlr find diabetes --optimizer sgd --json   for scripts
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "find", "measure what rate each group wants, without training", _EPILOG)
    add_problem_options(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the plot, .png, .svg or .pdf (default: runs/find-WORKLOAD.png)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure once at the initial weights, print the table, save the plot."""
    from hidlr.cli.console import notes, one_thread, readable_warnings, results
    from hidlr.find import find_rates
    from hidlr.training import RunConfig, assemble

    one_thread()
    console = notes()
    config = RunConfig(**{"workload": "digits", **explicit_settings(args)}).resolved()
    workload, model, optimizer = assemble(config)
    batch = tuple(part.to(config.device) for part in workload.batch(0, config.seed))
    with readable_warnings(console):
        found = find_rates(model, optimizer, lambda: workload.loss(model, batch))
    plot = save_figure(found.plot, args.out or Path("runs") / f"find-{config.workload}.png", console, "plot")
    if args.json:
        print(json.dumps({"rates": found.rates, "plot": None if plot is None else str(plot)}))
        return 0
    out = results()
    out.print(found.summary())
    for name, rate in found.rates.items():
        out.print(f"{name}: {rate:.3g}", soft_wrap=True)
    if plot is not None:
        out.print(f"plot    {plot}", soft_wrap=True)
    return 0
