"""Neural additive models whose evaluation also tells the learned shape of each feature's function."""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.workloads.nam import SHAPES, AdditiveRegression, HousingNam, SyntheticNam
from hidlr.workloads.base import Workload

__all__ = ["POINTS", "ShapesOfHousing", "ShapesOfSynthetic", "shape_of", "shapes"]

POINTS = 25
_EDGE = 0.98  # data is uniform on (-1, 1)


@torch.no_grad()
def shape_of(model: nn.Module, feature: str, places: Tensor) -> Tensor:
    """What a feature's network adds to the prediction, less its mean over the places.

    Args:
        model: `hidlr.workloads.diabetes.AdditiveModel`.
        feature: its name.
        places: standardised values of the feature, (n,).

    Returns:
        (n,), in standard deviations of the target.
    """
    values: Tensor = dict(model.named_children())["nets"][feature](places[:, None])[:, 0]  # type: ignore[index]
    return values - values.mean()


class ShapesOfSynthetic(SyntheticNam):
    """Beside the error of predictions: each learned shape at 25 points, and its squared distance from the truth."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Errors, and for each feature `shape_error.NAME` and `shape.NAME.i`."""
        grid = torch.linspace(-_EDGE, _EDGE, POINTS, dtype=torch.float64)
        mean, spread, scale = _standards()
        found = super().evaluate(model)
        errors = []
        for index, (name, truth) in enumerate(SHAPES.items()):
            learned = shape_of(model, name, ((grid - mean[index]) / spread[index]).float()).double() * scale
            right = truth(grid) - truth(grid).mean()
            errors.append((learned - right).square().mean().item())
            found[f"shape_error.{name}"] = errors[-1]
            found |= {f"shape.{name}.{i}": value for i, value in enumerate(learned.tolist())}
        return {**found, "shape_error": sum(errors) / len(errors)}


class ShapesOfHousing(HousingNam):
    """Beside the error of predictions: each learned shape at 25 points within two standard deviations."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Errors, and for each feature `shape.NAME.i`."""
        grid = torch.linspace(-2, 2, POINTS)
        found = super().evaluate(model)
        for name in self.features:
            found |= {f"shape.{name}.{i}": v for i, v in enumerate(shape_of(model, name, grid).tolist())}
        return found


def shapes(name: str, data: Path | None = None) -> Workload:
    """A workload by name.

    Args:
        name: "synthetic" or "housing".
        data: the data folder.
    """
    kinds: dict[str, type[AdditiveRegression]] = {"synthetic": ShapesOfSynthetic, "housing": ShapesOfHousing}
    return kinds[name](data)  # type: ignore[call-arg]


def _standards() -> tuple[Tensor, Tensor, float]:
    """Means and deviations of the synthetic training features, and the deviation of its targets, as data was scaled."""
    from benchmarks.workloads import nam

    draw = torch.Generator().manual_seed(nam._DRAW)
    inputs = 2 * torch.rand(nam._TRAIN, len(SHAPES), generator=draw, dtype=torch.float64) - 1
    parts = [shape(column) for shape, column in zip(SHAPES.values(), inputs.unbind(1), strict=True)]
    errors = nam._NOISE * torch.randn(nam._TRAIN, generator=draw, dtype=torch.float64)
    targets = torch.stack(parts).sum(0) + errors
    return inputs.mean(0), inputs.std(0), targets.std().item()
