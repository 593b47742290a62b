"""Neural additive models (Agarwal et al., arXiv 2004.13912): a group per feature's network and one for the bias."""

import csv
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.data import require
from hidlr.workloads.base import Batch, Defaults, Grouping, Workload, device_of
from hidlr.workloads.data import Split, Splits, split, training_batch
from hidlr.workloads.diabetes import AdditiveModel

__all__ = ["SHAPES", "HousingNam", "SyntheticNam", "feature"]

_WIDTH = 64
_HELD_OUT = 6192  # 30% of the districts: 3,096 validate, 3,096 test
_TRAIN, _EVALUATED = 5000, 5000
_NOISE = 0.5
_DRAW = 7


def feature(name: str, parameter: nn.Parameter) -> str:
    """The feature whose network a parameter belongs to; the output's bias is a group of its own."""
    del parameter
    return name.split(".")[1] if name.startswith("nets.") else name


class AdditiveRegression(Workload):
    """Squared error of a neural additive model with a perceptron 1-64-64-1 per feature.

    Attributes:
        optimizers: base optimizers that it is benchmarked with.
        features: names of the inputs' columns, in order.
    """

    metric_name = "val_loss"
    test_name = "test_loss"
    higher_is_better = False
    groupings: Mapping[str, Grouping] = MappingProxyType({"feature": feature})
    batch_size = 256
    optimizers: tuple[str, ...]
    features: tuple[str, ...]
    _data: Splits

    def build(self, seed: int) -> nn.Module:
        """A perceptron for each feature, and a bias."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AdditiveModel(list(self.features), width=_WIDTH)

    def batch(self, step: int, seed: int) -> Batch:
        """256 rows' features and targets."""
        return training_batch(self._data.train, self.batch_size, step, seed)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error (variance of the training targets)."""
        inputs, targets = batch
        return functional.mse_loss(model(inputs), targets)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Squared error on the validation and the test split; R^2 is one minus it, nearly."""
        return {
            "val_loss": _squared_error(model, self._data.validation),
            "test_loss": _squared_error(model, self._data.test),
        }


class HousingNam(AdditiveRegression):
    """California's districts of 1990: median house value from eight features.

    The features are those of scikit-learn's `fetch_california_housing`, made from the raw table: rooms, bedrooms and
    people become averages per household. Population and the averages have long tails and enter as logarithms. The
    207 districts without `total_bedrooms` get the training rows' median; `ocean_proximity` is dropped, for the
    position holds it. 14,448 districts train, 3,096 validate, 3,096 test; all is standardised by the training rows.
    """

    name = "housing-nam"
    description = "California house values, a neural additive model with a group per feature"
    defaults = Defaults(optimizer="adamw", steps=400, groups="feature", weight_decay=0.01)
    optimizers = ("adamw", "momentum")
    features = ("income", "age", "rooms", "bedrooms", "population", "occupancy", "latitude", "longitude")

    def __init__(self, data: Path | None = None) -> None:
        self._data = _housing(require(data, "housing/housing.csv"))


# Uneven in size, frequency and smoothness, so that the networks may want unlike rates; two features say nothing.
SHAPES: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "wave": lambda x: torch.sin(2 * math.pi * x),
        "ripple": lambda x: 0.5 * torch.sin(5 * math.pi * x),
        "square": lambda x: 2 * x**2,
        "exponential": lambda x: 0.5 * torch.exp(1.5 * x),
        "step": lambda x: (x > 0.2).to(x.dtype),
        "corner": lambda x: 2 * x.abs(),
        "line": lambda x: x,
        "spike": lambda x: 2 * torch.exp(-50 * (x + 0.4) ** 2),
        "nothing": torch.zeros_like,
        "zero": torch.zeros_like,
    }
)


class SyntheticNam(AdditiveRegression):
    """A sum of ten known functions of ten uniform features, learned from 5,000 noisy rows.

    Validation and test rows (5,000 each) carry no noise: noise would add the same constant to every run's error
    and hide how far a run is from the function that it is to find.
    """

    name = "synthetic-nam"
    description = "a sum of ten known functions, a neural additive model with a group per feature"
    defaults = Defaults(optimizer="adamw", steps=400, groups="feature", weight_decay=0.01)
    optimizers = ("adamw",)
    features = tuple(SHAPES)

    def __init__(self, data: Path | None = None) -> None:
        del data
        self._data = _synthetic()


@cache
def _housing(path: Path) -> Splits:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> Tensor:
        return torch.tensor([float(row[name] or "nan") for row in rows], dtype=torch.float64)

    households = column("households")
    inputs = torch.stack(
        [
            column("median_income"),
            column("housing_median_age"),
            (column("total_rooms") / households).log(),
            column("total_bedrooms").log(),
            column("population").log(),
            (column("population") / households).log(),
            column("latitude"),
            column("longitude"),
        ],
        dim=1,
    )
    parts = split(
        torch.cat([inputs, households.log()[:, None]], dim=1), column("median_house_value"), held_out=_HELD_OUT
    )
    median = parts.train.inputs[:, 3].nanmedian()  # of logarithms: the same district's as the raw column's

    def filled(part: Split) -> Split:
        bedrooms = part.inputs[:, 3].nan_to_num(nan=median.item()) - part.inputs[:, 8]
        return Split(torch.cat([part.inputs[:, :3], bedrooms[:, None], part.inputs[:, 4:8]], dim=1), part.targets)

    return _standardised(Splits(filled(parts.train), filled(parts.validation), filled(parts.test)))


@cache
def _synthetic() -> Splits:
    draw = torch.Generator().manual_seed(_DRAW)

    def rows(count: int, noise: float) -> Split:
        inputs = 2 * torch.rand(count, len(SHAPES), generator=draw, dtype=torch.float64) - 1
        parts = [shape(column) for shape, column in zip(SHAPES.values(), inputs.unbind(1), strict=True)]
        errors = noise * torch.randn(count, generator=draw, dtype=torch.float64)
        return Split(inputs, torch.stack(parts).sum(0) + errors)

    return _standardised(Splits(rows(_TRAIN, _NOISE), rows(_EVALUATED, 0.0), rows(_EVALUATED, 0.0)))


def _standardised(data: Splits) -> Splits:
    """Every part by the training part's means and standard deviations, in single precision."""
    inputs, targets = data.train.inputs, data.train.targets

    def scaled(part: Split) -> Split:
        return Split(
            ((part.inputs - inputs.mean(0)) / inputs.std(0)).float(),
            ((part.targets - targets.mean()) / targets.std()).float(),
        )

    return Splits(scaled(data.train), scaled(data.validation), scaled(data.test))


@torch.no_grad()
def _squared_error(model: nn.Module, data: Split) -> float:
    targets = data.targets.to(device_of(model))
    return functional.mse_loss(model(data.inputs.to(targets.device)), targets).item()
