"""Find what to freeze: a network trained on digits is adapted to digits turned by 90 degrees.

python examples/freeze.py            # pip install "hidlr[workloads]"; some ten seconds
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hidlr

Loss = Callable[[], Tensor]


def train(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """Train what is not frozen; rates are found on the way."""
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-4)
    tuner = hidlr.HiDLR(optimizer, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
        tuner.step(lambda rows=rows: F.cross_entropy(model(x[rows]), y[rows]))
        optimizer.zero_grad()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Share of the rows that are told right."""
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def main() -> None:
    """Pretrain, measure, choose, adapt; print what each choice of parameters reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=0.1, help="share of the parameters to train")
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()

    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels))
    x, y = torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]
    turned = x.unflatten(1, (8, 8)).rot90(dims=(1, 2)).flatten(1)

    layers = [nn.Linear(64, 128), nn.LayerNorm(128), nn.GELU()]
    for _ in range(3):
        layers += [nn.Linear(128, 128), nn.LayerNorm(128), nn.GELU()]
    model = nn.Sequential(*layers, nn.Linear(128, 10))
    train(model, x[:1400], y[:1400], 2 * args.steps)
    print(
        f"pretrained: {accuracy(model, x[1400:], y[1400:]):.3f}, turned: {accuracy(model, turned[1400:], y[1400:]):.3f}"
    )
    pretrained = {name: value.clone() for name, value in model.state_dict().items()}

    # 1. A short run on the new task, after which the model is as it was.
    batches = [torch.randint(1400, (64,)) for _ in range(24)]
    closures: list[Loss] = [lambda rows=rows: F.cross_entropy(model(turned[rows]), y[rows]) for rows in batches]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    influence = hidlr.measure_influence(model, closures, optimizer=optimizer, by="role_layer")

    # 2. What fits the budget; the others are frozen.
    selection = hidlr.select(influence, budget=args.budget)
    print(selection.explain())

    # 3. Adapt: with all parameters, with the chosen ones, with the head alone.
    for name, chosen in (
        ("all", None),
        ("chosen", selection),
        ("head alone", hidlr.select(influence, top=1, always=["head/head"], never=["layer_*"])),
    ):
        model.load_state_dict(pretrained)
        if chosen is not None:
            chosen.apply(model)
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        train(model, turned[:1400], y[:1400], args.steps)
        if chosen is not None:
            chosen.undo(model)
        print(f"{name}: {trained} parameters, accuracy {accuracy(model, turned[1400:], y[1400:]):.3f}")


if __name__ == "__main__":
    main()
