import sys

import pytest
import torch

from hidlr.errors import InputError, MissingExtraError
from hidlr.training import RunConfig, optimizers, train

NAMES = optimizers.names()


@pytest.mark.parametrize("name", NAMES)
def test_steps_downhill(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([2.0]))
    optimizer = optimizers.build(name, [{"params": [weight], "name": "all"}], lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.item() < 2.0


@pytest.mark.parametrize("name", NAMES)
def test_grid_covers_orders_of_magnitude(name: str) -> None:
    grid = optimizers.grid(name)
    assert list(grid) == sorted(grid)
    assert grid[-1] / grid[0] >= 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", ["auto", 1e-3])
def test_trains(name: str, rate: float | str) -> None:
    result = train(RunConfig("diabetes", optimizer=name, rate=rate, steps=6))  # type: ignore[arg-type]
    assert result.steps == 6
    assert result.diverged_at is None
    assert len(result.rates) == 11


def test_weight_decay_goes_to_those_that_have_it() -> None:
    for name in NAMES:
        weight = torch.nn.Parameter(torch.ones(1))
        optimizer = optimizers.build(name, [{"params": [weight]}], lr=1e-2, weight_decay=0.1)
        decays = optimizer.param_groups[0]["weight_decay"] == 0.1
        assert decays == (name in ("adamw", "lion"))


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        train(RunConfig("ellipse", optimizer="adamww"))


def test_lion_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(MissingExtraError, match="pytorch_optimizer"):
        optimizers.build("lion", [{"params": [torch.ones(1)]}], lr=1e-3, weight_decay=0.0)
