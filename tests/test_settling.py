"""A head that learns alone: the same as training it by hand, and nothing else moves."""

import copy

import pytest
import torch
from torch import nn

import hidlr
from support.traces import assert_equal


def task():
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    x, y = torch.randn(2, 16, 3), torch.randint(2, (2, 16))
    return model, [lambda k=k: nn.functional.cross_entropy(model(x[k]), y[k]) for k in range(2)]


def test_it_is_adamw_on_the_head_with_a_falling_rate():
    model, closures = task()
    twin = copy.deepcopy(model)
    head = list(model[2].parameters())
    optimizer = torch.optim.AdamW(head, lr=1e-2)
    for step in range(6):
        optimizer.param_groups[0]["lr"] = 1e-2 * (6 - step) / 6
        optimizer.zero_grad()
        closures[step % 2]().backward()
        optimizer.step()
    expected = [p.detach().clone() for p in model.parameters()]
    with torch.no_grad():
        for p, start in zip(model.parameters(), twin.parameters(), strict=True):
            p.copy_(start)
    assert hidlr.settle_head(model, closures, steps=6) == ("2.weight", "2.bias")
    torch.testing.assert_close([p.detach() for p in model.parameters()], expected)
    assert_equal(list(model[0].parameters()), list(twin[0].parameters()))


def test_flags_and_gradients_are_set_back():
    model, closures = task()
    model[0].bias.requires_grad_(False)
    closures[0]().backward()
    before = [(p.requires_grad, p.grad) for p in model.parameters()]
    hidlr.settle_head(model, closures, steps=2)
    for p, (flag, gradient) in zip(model.parameters(), before, strict=True):
        assert p.requires_grad is flag
        assert p.grad is gradient


def test_a_closure_that_raises_leaves_nothing():
    model, closures = task()
    before = copy.deepcopy(model.state_dict())

    def failing():
        raise KeyError("data")

    with pytest.raises(KeyError):
        hidlr.settle_head(model, [*closures, failing], steps=3)
    assert_equal(list(model.state_dict().values()), list(before.values()))
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "options", "error", "named"),
    [
        (lambda model: model[2].requires_grad_(False), {}, hidlr.InputError, "head"),
        (None, {"steps": 0}, hidlr.InputError, "steps=0"),
        (None, {"lr": float("nan")}, ValueError, "nan"),
        (None, {"closures": []}, hidlr.InputError, "no closures"),
        (None, {"closures": 3.0}, hidlr.InputTypeError, "float"),
        (None, {"closures": lambda: torch.zeros(())}, hidlr.ClosureError, "settle_head"),
    ],
)
def test_bad_input(change, options, error, named):
    model, closures = task()
    if change is not None:
        change(model)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=named):
        hidlr.settle_head(model, options.pop("closures", closures), **options)
    assert_equal(list(model.state_dict().values()), list(before.values()))
