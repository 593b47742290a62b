"""A plain PyTorch loop on scikit-learn's digits, without a learning rate to choose.

python examples/plain.py            # pip install "hidlr[workloads]"; a few seconds
"""

import argparse

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import hidlr


def main() -> None:
    """Train, print the table of groups and the accuracy on held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    epochs = parser.parse_args().epochs

    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    order = torch.randperm(len(x))
    train, test = order[:1400], order[1400:]

    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.LayerNorm(128), nn.Linear(128, 10))
    steps = epochs * len(train.split(64))
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-6)  # any start will do
    tuner = hidlr.HiDLR(optimizer, total_steps=steps)

    for _ in range(epochs):
        for batch in train[torch.randperm(len(train))].split(64):
            inputs, targets = x[batch], y[batch]
            loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            tuner.step(lambda inputs=inputs, targets=targets: F.cross_entropy(model(inputs), targets))
            optimizer.zero_grad()

    print(tuner.summary())
    with torch.no_grad():
        accuracy = (model(x[test]).argmax(1) == y[test]).float().mean().item()
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
