"""Hugging Face's Trainer on scikit-learn's digits, with no learning rate to set.

pip install "hidlr[hf,workloads]"
python examples/trainer.py
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from transformers import TrainingArguments

from hidlr.integrations import HiDLRTrainer


class Classifier(nn.Module):
    """Any module will do that takes a batch's fields and returns a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU())
        self.classifier = nn.Linear(128, 10)

    def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.classifier(self.body(pixels))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def main(steps: int = 300) -> float:
    """Train and test; the accuracy."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images / 16, dtype=torch.float32)
    rows = [{"pixels": row, "labels": int(label)} for row, label in zip(pixels, labels, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=32,
            gradient_accumulation_steps=2,
            learning_rate=1e-6,  # only a start
            label_names=["labels"],
            remove_unused_columns=False,
            logging_steps=50,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = HiDLRTrainer(
            model=Classifier(),
            args=args,
            train_dataset=rows[:1400],
            eval_dataset=rows[1400:],
            compute_metrics=lambda found: {"accuracy": (found.predictions.argmax(1) == found.label_ids).mean()},
        )
        trainer.train()
        accuracy = float(trainer.evaluate()["eval_accuracy"])
    print(trainer.tuner.summary())
    print(f"test accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
