"""Fine-tune a transformer on a TSV of texts and labels, without a learning rate to choose.

python examples/finetune_text.py train.tsv --model sentence-transformers/all-MiniLM-L6-v2     # pip install "hidlr[hf]"
"""

import argparse
import csv
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import hidlr


def main() -> None:
    """Read, train, print the table of groups and the accuracy on the rows held out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help='a TSV with a header and the columns "sentence" and "label"')
    parser.add_argument("--model", required=True, help="a folder of transformers, or a name on the hub")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--start", type=float, default=1e-4, help="where the rates start")
    args = parser.parse_args()

    torch.manual_seed(0)
    texts, labels, names = read(args.data)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=len(names))
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    order = torch.randperm(len(texts)).tolist()
    test, train = order[: len(order) // 10], order[len(order) // 10 :]

    def batch(rows: list[int]) -> tuple[dict[str, Tensor], Tensor]:
        inputs = tokenizer([texts[k] for k in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
        return dict(inputs), torch.tensor([labels[k] for k in rows])

    def loss_of(inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(model(**inputs).logits, targets)

    # Biases and norms without weight decay, as usual: groups by role, of which two get an option of their own.
    groups = hidlr.param_groups(model, by="role", weight_decay=0.01)
    for group in groups:
        if group["name"] in ("bias", "norm"):
            group["weight_decay"] = 0.0
    optimizer = torch.optim.AdamW(groups, lr=args.start)
    steps = args.epochs * (len(train) // args.batch)
    tuner = hidlr.HiDLR(optimizer, total_steps=steps)

    model.train()
    for epoch in range(args.epochs):
        shuffled = [train[k] for k in torch.randperm(len(train)).tolist()]
        for first in range(0, len(train) - args.batch + 1, args.batch):
            inputs, targets = batch(shuffled[first : first + args.batch])
            loss = loss_of(inputs, targets)
            loss.backward()
            optimizer.step()
            # Dropout draws the same masks at each point that is measured: leave the model in training mode.
            tuner.step(lambda inputs=inputs, targets=targets: loss_of(inputs, targets))
            optimizer.zero_grad()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}")

    print(tuner.summary())
    model.eval()
    with torch.no_grad():
        right = 0
        for first in range(0, len(test), 64):
            inputs, targets = batch(test[first : first + 64])
            right += int((model(**inputs).logits.argmax(1) == targets).sum())
    print(f"accuracy {right / len(test):.3f}")


def read(path: Path) -> tuple[list[str], list[int], list[str]]:
    """Texts, labels as numbers, and the labels' names."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["sentence"]]
    names = sorted({row["label"] for row in rows})
    return [row["sentence"] for row in rows], [names.index(row["label"]) for row in rows], names


if __name__ == "__main__":
    main()
