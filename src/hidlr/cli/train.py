"""`hidlr train`: a workload, from the first step (or a checkpoint) to its report."""

import argparse
import json
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.cli.options import Commands, add_command, add_problem_options, explicit_settings
from hidlr.errors import HidlrError

if TYPE_CHECKING:
    from rich.console import Console

    from hidlr.cli.progress import Display
    from hidlr.training import Comparison, Interrupted, Result, RunConfig

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr train                                    digits, AdamW, a rate per role of the parameters
  hidlr train digits --compare                   with a search for a uniform rate beside it
  hidlr train digits --rate 3e-3 --warmup 0.1    one uniform rate, warmed up over a tenth of the run
  hidlr train diabetes --engine paper            Algorithm 1 as published
  hidlr train --resume runs/digits-001           go on after Ctrl-C, a crash or a reboot
  hidlr train digits --json --quiet | jq .final  for scripts
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "train", "train a workload and let hidlr set the rate of each group", _EPILOG)
    add_problem_options(parser)
    parser.add_argument(
        "--rate", type=_rate, metavar="auto|RATE", help="auto (default), or a uniform rate to use instead"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="optimizer steps (default: the workload's)")
    parser.add_argument("--schedule", metavar="NAME", help="linear, cosine or constant")
    parser.add_argument("--warmup", type=float, metavar="SHARE", help="of the run, for a uniform rate (default: 0)")
    parser.add_argument("--engine", metavar="NAME", help="default, or paper for Algorithm 1 as published")
    parser.add_argument("--overhead", type=float, metavar="SHARE", help="of training compute for probes (default: 0.1)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/WORKLOAD-001, ...)")
    where.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in this folder")
    parser.add_argument("--compare", action="store_true", help="also search a uniform rate, cold and warmed up")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, compare if asked, report, print."""
    from hidlr.cli.console import notes, one_thread, readable_warnings
    from hidlr.cli.outcome import outcome
    from hidlr.cli.progress import display
    from hidlr.training import Interrupted, fresh_folder

    one_thread()
    console = notes()
    config = _config(args)
    out = args.resume or args.out or fresh_folder(config.workload)
    comparison = None
    try:
        with readable_warnings(console), display(console, quiet=args.quiet) as bars:
            result = _train(config, out, resume=args.resume is not None, bars=bars)
            if args.compare:
                comparison = _compare(result, bars)
    except Interrupted as stop:
        return _stopped(stop, out, console, compare=args.compare)
    except KeyboardInterrupt:
        console.print("interrupted; the run is complete. To go on with the comparison:", soft_wrap=True)
        console.print(f"  {_again(out, compare=True)}", soft_wrap=True)
        return 130
    finally:
        with suppress(OSError):
            out.rmdir()  # only if nothing was written into it
    if args.json:
        page = _report(out, console)
        print(json.dumps(outcome(result, comparison, page), allow_nan=False))
    else:
        # Before the report: it draws for a second, and is the part that could fail.
        _print(result, comparison, quiet=args.quiet)
        page = _report(out, console)
        if page is not None:
            print(f"report  {page}")
    return _verdict(result, console)


def _config(args: argparse.Namespace) -> "RunConfig":
    from dataclasses import replace

    from hidlr.training import RunConfig, read_config

    given = explicit_settings(args)
    if args.resume is not None:
        return replace(read_config(args.resume), **given)
    return RunConfig(**{"workload": "digits", **given}).resolved()


def _train(config: "RunConfig", out: Path, *, resume: bool, bars: "Display") -> "Result":
    from hidlr.cli.progress import compact
    from hidlr.training import Progress, train

    def show(progress: Progress) -> None:
        note = f"loss {progress.loss:.4g}  rate {compact(progress.rates)}"
        bars.update(config.workload, progress.step + 1, progress.steps, note)

    return train(config, out, on_step=show, resume=resume)


def _compare(result: "Result", bars: "Display") -> "Comparison":
    import os

    from hidlr.training import Row, compare

    def show(row: Row, done: int, total: int) -> None:
        bars.update("uniform rates", done, total, f"{row.name}: {result.metric_name} {row.metric:.4g}")

    # More processes than two gain little on runs of seconds, which begin with an import of torch.
    processes = 1 if result.config.device != "cpu" else min(2, os.cpu_count() or 1)
    return compare(result, processes=processes, on_run=show)


def _report(out: Path, console: "Console") -> Path | None:
    from hidlr.reports import write_report

    try:
        return write_report(out)
    except (HidlrError, OSError) as error:
        console.print(f"warning: no report: {error}", soft_wrap=True)
        return None


def _print(result: "Result", comparison: "Comparison | None", *, quiet: bool) -> None:
    from hidlr.cli.console import results
    from hidlr.cli.outcome import comparison_table, grid_sentences, headline

    console = results()
    for line in headline(result):
        console.print(line, soft_wrap=True)
    if not quiet:
        if result.summary is not None:
            console.print(result.summary)
        if comparison is not None:
            console.print(comparison_table(result, comparison))
            for line in grid_sentences(result, comparison):
                console.print(line, soft_wrap=True)
    console.print(f"run     {result.path}", soft_wrap=True)


def _verdict(result: "Result", console: "Console") -> int:
    if result.diverged_at is not None:
        console.print(
            f"hidlr: error: the loss was not finite at step {result.diverged_at}, which ended the run: "
            "start at a lower rate (--rate or --start-rate).",
            soft_wrap=True,
        )
    for problem in result.problems:
        console.print(f"hidlr: error: {problem}; the result above is complete.", soft_wrap=True)
    return 1 if result.problems or result.diverged_at is not None else 0


def _stopped(stop: "Interrupted", out: Path, console: "Console", *, compare: bool) -> int:
    if stop.path is not None:
        console.print(f"interrupted after step {stop.step} of {stop.steps}; saved. To go on:", soft_wrap=True)
    else:
        console.print(f"interrupted in or after step {stop.step}. To go on from the last checkpoint:", soft_wrap=True)
    console.print(f"  {_again(out, compare=compare)}", soft_wrap=True)
    return 130


def _again(out: Path, *, compare: bool) -> str:
    return shlex.join(["hidlr", "train", "--resume", str(out), *(["--compare"] if compare else [])])


def _rate(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a number") from None
