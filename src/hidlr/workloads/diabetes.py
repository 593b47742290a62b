"""Diabetes progression (442 patients, 10 features; scikit-learn) and a neural additive model."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hidlr.workloads.base import Batch, Defaults, Workload, device_of
from hidlr.workloads.data import Split, load_sklearn, split, training_batch

__all__ = ["AdditiveModel", "Diabetes"]


class AdditiveModel(nn.Module):
    """A neural additive model: the sum of one small perceptron per feature, and a bias.

    Agarwal et al., arXiv 2004.13912. The perceptrons' last layers have no bias of their own, which
    would only add to the common one.
    """

    def __init__(self, features: list[str], width: int = 16) -> None:
        super().__init__()
        self.nets = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(1, width),
                    nn.ReLU(),
                    nn.Linear(width, width),
                    nn.ReLU(),
                    nn.Linear(width, 1, bias=False),
                )
                for name in features
            }
        )
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions, (n,), of inputs, (n, features)."""
        parts = [net(column) for net, column in zip(self.nets.values(), torch.split(inputs, 1, 1), strict=True)]
        return torch.cat(parts, 1).sum(1) + self.bias


class Diabetes(Workload):
    """Regress disease progression after a year: squared error and R^2, on standardised data.

    310 patients train (4 batches of 64 an epoch), 66 validate, 66 test.
    """

    name = "diabetes"
    description = "regression on 10 features, a neural additive model with a group per feature"
    metric_name = "val_r2"
    test_name = "test_r2"
    higher_is_better = True
    defaults = Defaults(optimizer="adamw", steps=400, groups="feature", weight_decay=0.01)
    batch_size = 64

    def __init__(self) -> None:
        bunch = load_sklearn("diabetes")
        self._features = [str(name) for name in bunch.feature_names]
        raw = split(torch.tensor(bunch.data), torch.tensor(bunch.target), held_out=132)
        self._data = [_standardised(part, raw.train) for part in (raw.train, raw.validation, raw.test)]
        self.groupings = {"feature": _feature}

    def build(self, seed: int) -> nn.Module:
        """A perceptron 1-16-16-1 for each of the 10 features, and a bias."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AdditiveModel(self._features)

    def batch(self, step: int, seed: int) -> Batch:
        """64 patients' features and targets."""
        return training_batch(self._data[0], self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error (variance of the training targets)."""
        inputs, targets = batch
        return functional.mse_loss(model(inputs), targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Squared error and R^2 on the validation and the test split."""
        _, validation, test = self._data
        return {**_scores("val", model, validation), **_scores("test", model, test)}


def _feature(name: str, parameter: nn.Parameter) -> str:
    del parameter
    return name.split(".")[1] if name.startswith("nets.") else name


def _standardised(part: Split, train: Split) -> Split:
    inputs = (part.inputs - train.inputs.mean(0)) / train.inputs.std(0)
    targets = (part.targets - train.targets.mean()) / train.targets.std()
    return Split(inputs.float(), targets.float())


@torch.no_grad()
def _scores(prefix: str, model: nn.Module, data: Split) -> dict[str, float]:
    targets = data.targets.to(device_of(model))
    error = functional.mse_loss(model(data.inputs.to(targets.device)), targets)
    return {
        f"{prefix}_loss": error.item(),
        f"{prefix}_r2": (1 - error / targets.var(correction=0)).item(),
    }
