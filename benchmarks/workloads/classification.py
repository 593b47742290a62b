"""Scores of a classifier on a held-out set, in evaluation mode and in chunks."""

import torch
from torch import nn
from torch.nn import functional

from hidlr.workloads.base import device_of, evaluating
from hidlr.workloads.data import Split

__all__ = ["classification_scores"]


@torch.no_grad()
def classification_scores(model: nn.Module, data: Split, prefix: str, *, chunk: int = 500) -> dict[str, float]:
    """Mean cross-entropy (nats) and accuracy, as `<prefix>_loss` and `<prefix>_accuracy`; the mode is restored."""
    device = device_of(model)
    loss, right = 0.0, 0
    with evaluating(model):
        for inputs, targets in zip(torch.split(data.inputs, chunk), torch.split(data.targets, chunk), strict=True):
            labels = targets.to(device)
            scores = model(inputs.to(device))
            loss += functional.cross_entropy(scores, labels, reduction="sum").item()
            right += int((scores.argmax(1) == labels).sum())
    return {f"{prefix}_loss": loss / len(data), f"{prefix}_accuracy": right / len(data)}
