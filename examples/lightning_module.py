"""A LightningModule on scikit-learn's digits, with no learning rate to set.

pip install "hidlr[lightning,workloads]"
python examples/lightning_module.py
"""

import torch
from lightning import pytorch as pl
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hidlr.integrations import HiDLRCallback


class Classifier(pl.LightningModule):
    """Nothing in it knows of hidlr."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU())
        self.head = nn.Linear(128, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.body(pixels))

    def loss(self, batch: list[Tensor]) -> Tensor:
        pixels, labels = batch
        return nn.functional.cross_entropy(self(pixels), labels)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.loss(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-6)  # only a start


def main(epochs: int = 12) -> float:
    """Train and test; the accuracy."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    train, test = torch.utils.data.random_split(data, [1400, len(data) - 1400], torch.Generator().manual_seed(0))

    module = Classifier()
    tuning = HiDLRCallback(lambda module, batch: module.loss(batch), by="role")
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        gradient_clip_val=5.0,
        callbacks=[tuning],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(train, batch_size=64, shuffle=True))

    with torch.no_grad():
        right = sum(int((module(x).argmax(1) == y).sum()) for x, y in DataLoader(test, batch_size=128))
    print(tuning.tuner.summary())
    print(f"test accuracy {right / len(test):.3f}")
    return right / len(test)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
