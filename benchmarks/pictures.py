"""Draw the README's picture from a run folder.

hidlr train digits --start-rate 1e-6 --out runs/picture
python -m benchmarks.pictures runs/picture      # writes docs/images/digits.png
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from hidlr import History

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "digits.png"


def draw(run: Path, out: Path) -> None:
    """Rates of each group at each probe, and the training loss, over the steps of a run."""
    history = History.load(run / "history.jsonl")
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    steps = [record.step for record in history]
    for index, group in enumerate(history[0].groups):
        rates = [record.groups[index].rate_after for record in history]
        left.plot([0, *steps], [history[0].groups[index].rate_before, *rates], label=group.name)
    left.set(yscale="log", xlabel="step", ylabel="learning rate", title="rate of each group, started at 1e-6")
    left.legend(fontsize=8, ncols=2)
    right.plot([line["step"] for line in metrics], [line["loss"] for line in metrics], color="0.3", lw=0.8)
    right.set(yscale="log", xlabel="step", ylabel="training loss (nats)", title="loss of each batch")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of hidlr train")
    parser.add_argument("--out", type=Path, default=PICTURE)
    arguments = parser.parse_args()
    draw(arguments.run, arguments.out)


if __name__ == "__main__":
    main()
