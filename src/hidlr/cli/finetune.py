"""`hidlr finetune`: a text classifier from a pretrained model and a table, with no rate to set."""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hidlr.cli.options import Commands, add_command
from hidlr.errors import HidlrError

if TYPE_CHECKING:
    from rich.console import Console

    from hidlr.finetuning import FinetuneConfig, Outcome

__all__ = ["add_to", "run"]

_EPILOG = """\
examples:
  hidlr finetune --model ./bert-base --train train.tsv --dev dev.tsv
  hidlr finetune --model ./bert-base --train train.csv --dev dev.csv --method lora --epochs 5
  hidlr finetune --model ./bert-base --train train.jsonl --dev dev.jsonl --method adaptive --budget 1%
  hidlr finetune --model ./bert-base --train a.tsv --dev b.tsv --text-column premise hypothesis --label-column gold
  hidlr finetune --model ./bert-base --train a.tsv --dev b.tsv --steps 500 --json --quiet | jq .final

The folder it writes (--out) holds report.html and model/, which transformers or peft load with from_pretrained.
"""


def add_to(commands: Commands) -> None:
    """Add the command's parser."""
    parser = add_command(commands, "finetune", "fine-tune a text classifier, with no learning rate to set", _EPILOG)
    parser.add_argument(
        "--model", required=True, metavar="DIR", help="pretrained model: a folder, or a name on the hub"
    )
    parser.add_argument("--train", required=True, type=Path, metavar="FILE", help=".tsv, .csv or .jsonl to learn from")
    parser.add_argument("--dev", required=True, type=Path, metavar="FILE", help="the same, to be judged by")
    parser.add_argument(
        "--method",
        default="full",
        metavar="NAME",
        help="full (default): every parameter; lora: adapters and head; adaptive: what matters most, within --budget",
    )
    parser.add_argument(
        "--budget", type=_share, default=0.01, metavar="SHARE", help="of the parameters, for adaptive (default: 1%%)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=float, default=3.0, metavar="N", help="passes over the file (default: 3)")
    length.add_argument("--steps", type=int, metavar="N", help="optimizer steps instead")
    parser.add_argument(
        "--text-column", nargs="+", default=[], metavar="NAME", help="one, or two for pairs (default: by usual names)"
    )
    parser.add_argument("--label-column", metavar="NAME", help="(default: by usual names)")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="examples per step (default: 16)")
    parser.add_argument("--max-length", type=int, default=128, metavar="N", help="tokens per example (default: 128)")
    parser.add_argument("--rank", type=int, default=8, metavar="N", help="of LoRA (default: 8)")
    parser.add_argument(
        "--overhead", type=float, default=0.1, metavar="SHARE", help="of the compute for probes (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of head, order and dropout (default: 0)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/finetune-001, ...)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no tables")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, write the report, print."""
    from hidlr.cli.console import notes, readable_warnings
    from hidlr.cli.progress import compact, display
    from hidlr.finetuning import FinetuneConfig, finetune
    from hidlr.finetuning.recorder import Seen
    from hidlr.training import fresh_folder

    console = notes()
    config = FinetuneConfig(
        model=args.model, train=args.train, dev=args.dev, method=args.method, budget=args.budget, epochs=args.epochs,
        steps=args.steps, text=tuple(args.text_column), label=args.label_column, batch_size=args.batch_size,
        max_length=args.max_length, rank=args.rank, overhead=args.overhead, seed=args.seed,
    )  # fmt: skip
    _silence_transformers()
    out = args.out or fresh_folder("finetune")
    try:
        with readable_warnings(console), display(console, quiet=args.quiet) as bars:

            def show(seen: Seen) -> None:
                judged = f"  dev accuracy {seen.evaluation['dev_accuracy']:.3f}" if seen.evaluation else ""
                bars.update(
                    "finetune", seen.step, seen.steps, f"loss {seen.loss:.4g}{judged}  rate {compact(seen.rates)}"
                )

            outcome = finetune(config, out, on_step=show)
    finally:
        with suppress(OSError):
            out.rmdir()  # only if nothing was written into it
    page = _report(out, console)
    if args.json:
        print(json.dumps({**_plain(outcome), "report": None if page is None else str(page)}, allow_nan=False))
    else:
        _print(config, outcome, page, quiet=args.quiet)
    if not any(row.measured for row in outcome.summary.rows):
        console.print(
            "warning: no rate could be measured, so all stayed at the usual 5e-5; the report's last tables say why.",
            soft_wrap=True,
        )
    if outcome.diverged_at is not None:
        console.print(f"hidlr: error: the loss was not finite at step {outcome.diverged_at}, which ended the run.")
        return 1
    return 0


def _print(config: "FinetuneConfig", outcome: "Outcome", page: Path | None, *, quiet: bool) -> None:
    from hidlr.cli.console import results
    from hidlr.reports.text import plural

    console = results()
    share = f"{outcome.trained:,} of {outcome.parameters:,} parameters ({outcome.trained / outcome.parameters:.2%})"
    probes = f", probes {outcome.probe_seconds / outcome.seconds:.1%} of it" if outcome.probe_seconds else ""
    console.print(
        f"{config.method}, {share}: {plural(outcome.steps, 'step')} in {outcome.seconds:.1f} s{probes}", soft_wrap=True
    )
    console.print("  ".join(f"{name} {value:.4g}" for name, value in outcome.final.items()), soft_wrap=True)
    if not quiet:
        console.print(outcome.summary)
    console.print(f"model   {outcome.model}", soft_wrap=True)
    if page is not None:
        console.print(f"report  {page}", soft_wrap=True)


def _plain(outcome: "Outcome") -> dict[str, object]:
    from hidlr.training.jsonlines import dump_json

    plain: dict[str, object] = json.loads(dump_json(outcome.to_dict()))
    return plain


def _report(out: Path, console: "Console") -> Path | None:
    from hidlr.reports import write_report

    try:
        return write_report(out)
    except (HidlrError, OSError) as error:
        console.print(f"warning: no report: {error}", soft_wrap=True)
        return None


def _silence_transformers() -> None:
    """Its remarks (a head that is new, a bar while loading, peft's use of an old name) are expected here."""
    import warnings

    from hidlr.integrations.require import require

    logging = require("transformers.utils.logging", "hf")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.|peft\.")


def _share(text: str) -> float:
    number = text.removesuffix("%")
    try:
        value = float(number) / (100 if number != text else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: 1% or 0.01") from None
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: a share of the parameters is above 0 and at most 100%")
    return value
