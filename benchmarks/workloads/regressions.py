"""Linear models on scikit-learn's small data sets, penalised as scikit-learn does by default; groups weight | bias."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidlr.workloads.base import Batch, Defaults, Workload, device_of
from hidlr.workloads.data import Split, load_sklearn, split, training_batch

__all__ = ["CancerLogistic", "DiabetesLinear", "DigitsSoftmax", "WineSoftmax"]


class LinearRegression(Workload):
    """A linear map from standardised features, a loss, and a penalty on its weight (not on its bias).

    Two thirds of the rows train, the other third validates; the validation loss leaves the penalty out.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
        source: the data set is `sklearn.datasets.load_<source>()`.
        outputs: rows of the weight; 1 where a prediction is one number.
        batch_size: rows in a batch.
        train: two thirds of the rows, features standardised (and targets, where they are numbers).
        validation: the other third, by the training rows' means and spreads.
    """

    metric_name = "val_loss"
    higher_is_better = False
    # The penalty is in the loss: a decoupled decay as well would move the optimum with the rate.
    defaults = Defaults(optimizer="adamw", steps=250, groups="tensor")
    batch_size = 64
    optimizers: tuple[str, ...]
    source: str
    outputs: int

    def __init__(self, data: Path | None = None) -> None:
        del data
        self.train, self.validation = _parts(self.source)

    def build(self, seed: int) -> nn.Module:
        """A linear map with PyTorch's initial values."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(self.train.inputs.shape[1], self.outputs)

    def batch(self, step: int, seed: int) -> Batch:
        """64 rows' features and targets."""
        return training_batch(self.train, self.batch_size, step, seed)


class Classifier(LinearRegression):
    """Mean cross-entropy plus ||w||^2 / (2 C n) with C = 1: scikit-learn's `LogisticRegression` by default."""

    test_name = "val_accuracy"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the batch (nats) and the penalty, which belongs to all n rows."""
        inputs, targets = batch
        penalty = _weight(model).square().sum() / (2 * len(self.train))
        return _cross_entropy(model(inputs), targets) + penalty

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Cross-entropy and accuracy on the validation third."""
        scores, targets = _predictions(model, self.validation)
        chosen = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(1)
        return {
            "val_loss": _cross_entropy(scores, targets).item(),
            "val_accuracy": (chosen == targets).double().mean().item(),
        }


class CancerLogistic(Classifier):
    """Breast cancer: 569 tumours, 30 features, two classes."""

    name = "cancer-logistic"
    description = "breast cancer (569 rows, 30 features), logistic regression"
    optimizers = ("adamw", "sgd")
    source = "breast_cancer"
    outputs = 1


class WineSoftmax(Classifier):
    """Wine: 178 wines, 13 features, three cultivars."""

    name = "wine-softmax"
    description = "wine (178 rows, 13 features), softmax regression on 3 classes"
    optimizers = ("adamw",)
    source = "wine"
    outputs = 3


class DigitsSoftmax(Classifier):
    """Digits: 1,797 images of 8x8 pixels, ten classes."""

    name = "digits-softmax"
    description = "digits (1,797 rows, 64 features), softmax regression on 10 classes"
    optimizers = ("adamw", "momentum")
    source = "digits"
    outputs = 10


class DiabetesLinear(LinearRegression):
    """Diabetes progression: 442 patients, 10 features; mean squared error plus ||w||^2 / n: `Ridge` by default."""

    name = "diabetes-linear"
    description = "diabetes (442 rows, 10 features), ridge regression"
    test_name = "val_r2"
    optimizers = ("adamw", "sgd")
    source = "diabetes"
    outputs = 1

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error of the batch (variance of the training targets) and the penalty."""
        inputs, targets = batch
        return functional.mse_loss(model(inputs)[:, 0], targets) + _weight(model).square().sum() / len(self.train)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Squared error and R^2 on the validation third."""
        outputs, targets = _predictions(model, self.validation)
        error = functional.mse_loss(outputs[:, 0], targets)
        return {"val_loss": error.item(), "val_r2": (1 - error / targets.var(correction=0)).item()}


@cache
def _parts(source: str) -> tuple[Split, Split]:
    bunch = load_sklearn(source)
    inputs, targets = torch.tensor(bunch.data, dtype=torch.float64), torch.tensor(bunch.target)
    data = split(inputs, targets, held_out=len(inputs) // 3)
    mean, spread = data.train.inputs.mean(0), data.train.inputs.std(0, correction=0)
    spread = torch.where(spread > 0, spread, 1.0)  # pixels in the corners are always dark
    held_out = Split(
        torch.cat([data.validation.inputs, data.test.inputs]), torch.cat([data.validation.targets, data.test.targets])
    )

    def scaled(part: Split) -> Split:
        targets = part.targets
        if targets.is_floating_point():  # a number to predict, not a class
            known = data.train.targets
            targets = ((targets - known.mean()) / known.std(correction=0)).float()
        return Split(((part.inputs - mean) / spread).float(), targets)

    return scaled(data.train), scaled(held_out)


def _weight(model: nn.Module) -> Tensor:
    return dict(model.named_parameters())["weight"]


def _cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    if scores.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(scores[:, 0], targets.to(scores.dtype))
    return functional.cross_entropy(scores, targets)


@torch.no_grad()
def _predictions(model: nn.Module, data: Split) -> tuple[Tensor, Tensor]:
    targets = data.targets.to(device_of(model))
    return model(data.inputs.to(targets.device)), targets
