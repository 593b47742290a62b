"""After an explosion: parameters back at their average, an optimizer that begins anew, and a run that goes on."""

import math

import pytest
import torch
from torch import nn

import hidlr
from hidlr.engines import Decision
from support.engines import Multiply
from support.quadratic import quadratic

pytestmark = pytest.mark.usefixtures("float64")


class GoingBack(Multiply):
    """Goes back at one step."""

    def __init__(self, at, forgets):
        super().__init__([1.0, 1.0])
        self._when, self._forgets = at, forgets

    @property
    def looks_back(self):
        return 1.0

    def decide(self, view, measure):
        back = view.step == self._when
        return Decision(view.rates / 2 if back else view.rates, "guard", returns=back, forgets=back and self._forgets)


@pytest.mark.parametrize("forgets", [True, False])
@pytest.mark.filterwarnings("ignore:the loss exploded")
def test_parameters_are_set_back_bit_for_bit_and_rates_halved(forgets):
    model = quadratic((3, 2))
    optimizer = torch.optim.Adam(model.groups(0.01))
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=GoingBack(4, forgets))
    for step in range(5):
        optimizer.zero_grad()
        before = model.vector().detach().clone()
        model().backward()
        optimizer.step()
        if step == 3:
            start = before
        tuner.step(model)
    assert torch.equal(model.vector().detach(), start)
    assert [group["lr"] for group in optimizer.param_groups] == [0.005, 0.005]
    assert bool(optimizer.state) is not forgets


def regression(seed=0):
    """A small network on one batch, which plain descent trains at a rate of 0.1."""
    draw = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(64, 1, generator=draw) - 1
    y = torch.sin(4 * x)
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(1, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)
    )
    return model, lambda: (model(x) - y).square().mean()


@pytest.mark.parametrize("damage", [math.nan, math.inf, 1e6])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "adamw"])
def test_a_run_survives_parameters_that_were_wrecked(kind, damage):
    model, loss = regression()
    groups = hidlr.param_groups(model, by="layer")
    optimizer = {
        "sgd": lambda: torch.optim.SGD(groups, lr=0.01),
        "momentum": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.9),
        "adamw": lambda: torch.optim.AdamW(groups, lr=0.01),
    }[kind]()
    tuner = hidlr.HiDLR(optimizer, total_steps=200)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
            tuner.step(loss)

    train(40)
    good = loss().item()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(damage)
    with pytest.warns(hidlr.HidlrWarning, match="the loss exploded"):
        train(20)
    assert loss().item() < 2 * good
    train(140)
    assert loss().item() < good
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    (record,) = [record for record in tuner.history if record.phase == "guard"]
    assert "back to the average" in record.note


def test_a_hard_batch_is_no_explosion():
    model, loss = regression()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="layer"), lr=0.01)
    tuner = hidlr.HiDLR(optimizer, total_steps=200)
    for step in range(100):

        def hard(offset=100.0 if step % 20 > 12 else 0.0):
            return offset + loss()

        optimizer.zero_grad()
        hard().backward()
        optimizer.step()
        tuner.step(hard)
    assert not [record for record in tuner.history if "back to the average" in record.note]
