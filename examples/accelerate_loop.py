"""A loop prepared by Hugging Face Accelerate on scikit-learn's digits, with no learning rate to set.

pip install "hidlr[accelerate,workloads]"
python examples/accelerate_loop.py
"""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import hidlr
from hidlr.integrations import AcceleratedHiDLR


def loss_of(model: nn.Module, pixels: Tensor, labels: Tensor) -> Tensor:
    """What is differentiated, and what the tuner measures."""
    return nn.functional.cross_entropy(model(pixels), labels)


def main(epochs: int = 12) -> float:
    """Train and test; the accuracy."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, len(data) - 1400], torch.Generator().manual_seed(0))

    accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
    model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 10))
    # Only a start, but with bf16 not one that is far too low: losses a hair apart are rounded to the same number.
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-3)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    tuner = AcceleratedHiDLR(accelerator, optimizer, total_steps=epochs * len(loader) // 2)

    for _ in range(epochs):
        for pixels, target in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(model, pixels, target))
                if accelerator.sync_gradients:
                    tuner.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                tuner.step(loss_of, model, pixels, target)
                optimizer.zero_grad()

    with torch.no_grad():
        right = sum(int((model(x).argmax(1) == y).sum()) for x, y in DataLoader(test, batch_size=128))
    print(tuner.tuner.summary())
    print(f"test accuracy {right / len(test):.3f}")
    return right / len(test)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
