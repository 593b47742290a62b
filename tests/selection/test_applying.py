"""Apply and undo: all or nothing, and backward really ends at the lowest trained layer."""

import pytest
import torch
from torch import nn

import hidlr
from hidlr.influence import Influence, InfluenceMeter
from support.traces import Trace


def network():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def chosen(model, *kept, by="tensor"):
    """A selection of the given groups, as if they had been measured."""
    groups = hidlr.param_groups(model, by)
    meter = InfluenceMeter()
    for group in groups:
        meter.observe(group["name"], sum(p.numel() for p in group["params"]), slope=1.0, curvature=1.0)
    everything = [group["name"] for group in groups]
    never = [name for name in everything if name not in kept]
    return hidlr.select(Influence.of(meter).located(model, groups), budget=1.0, never=never)


def trainable(model):
    return [name for name, p in model.named_parameters() if p.requires_grad]


def backward(model):
    loss = model(torch.ones(3, 4)).square().mean()
    loss.backward()
    return loss


def test_apply_freezes_and_undo_thaws():
    model = network()
    selection = chosen(model, "2.bias", "4.weight")
    backward(model)
    selection.apply(model)
    assert trainable(model) == ["2.bias", "4.weight"]
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["2.bias", "4.weight"]
    selection.undo(model)
    assert len(trainable(model)) == 6


def test_gradients_are_those_of_full_training_where_trained():
    model = network()
    backward(model)
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    chosen(model, "2.bias", "4.weight").apply(model)
    backward(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=0)
        else:
            assert parameter.grad is None


def test_backward_ends_at_the_lowest_trained_layer():
    model = network()
    chosen(model, "2.bias", "4.weight").apply(model)
    hidden = model[:2](torch.ones(3, 4))
    assert not hidden.requires_grad
    assert model[2](hidden).requires_grad


def test_undo_sets_back_what_was_frozen_before():
    model = network()
    selection = chosen(model, "4.weight")
    model[0].weight.requires_grad_(False)
    selection.apply(model)
    selection.undo(model)
    assert "0.weight" not in trainable(model)
    # In another process nothing is known of before: what was measured was trainable.
    again = hidlr.Selection(selection.groups)
    again.undo(model)
    assert len(trainable(model)) == 6


def test_applying_again_or_to_a_frozen_model_gives_the_same():
    model = network()
    selection = chosen(model, "4.weight")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for _ in range(2):
        selection.apply(model)
        assert trainable(model) == ["4.weight"]


def test_the_optimizers_state_goes_and_training_goes_on():
    model = network()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, "tensor"), lr=1e-2)
    backward(model)
    optimizer.step()
    optimizer.zero_grad()
    selection = chosen(model, "4.weight")
    selection.apply(model, optimizer)
    assert set(optimizer.state) == {model[4].weight}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    backward(model)
    optimizer.step()
    changed = [name for name, p in model.named_parameters() if not torch.equal(p, before[name])]
    assert changed == ["4.weight"]


def test_a_tuner_skips_what_is_frozen_and_takes_up_what_is_thawed():
    model = network()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, "tensor"), lr=1e-2)
    tuner = hidlr.HiDLR(optimizer, total_steps=20, engine=hidlr.engines.Fixed(every=1))

    def step():
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
        record = tuner.step(lambda: model(torch.ones(3, 4)).square().mean())
        return {group.name for group in record.groups if group.accepted or group.reason}

    assert len(step()) == 6
    selection = chosen(model, "4.weight")
    selection.apply(model, optimizer)
    assert step() == {"4.weight"}
    selection.undo(model)
    assert len(step()) == 6


def test_wrappers_are_seen_through():
    model = network()
    selection = chosen(model, "4.weight")
    wrapped = nn.Module()
    wrapped._orig_mod = model
    selection.apply(wrapped)
    assert trainable(model) == ["4.weight"]


class Refused:
    """Models that a selection does not fit, each with the error and what it must name."""

    @staticmethod
    def other_names():
        return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), hidlr.StateError, "transfer"

    @staticmethod
    def more_parameters():
        return nn.Sequential(*network(), nn.Linear(2, 2)), hidlr.StateError, r"5\.weight"

    @staticmethod
    def quantised():
        model = network()
        model[4].weight = nn.Parameter(torch.ones(2, 8, dtype=torch.int8), requires_grad=False)
        return model, hidlr.InputError, r"quantised \(torch.int8\)"

    @staticmethod
    def no_model():
        return object(), hidlr.InputTypeError, "object"


@pytest.mark.parametrize("case", ["other_names", "more_parameters", "quantised", "no_model"])
def test_nothing_is_half_applied(case):
    selection = chosen(network(), "4.weight")
    model, error, named = getattr(Refused, case)()
    before = Trace(model) if isinstance(model, nn.Module) else None
    for attempt in (selection.check, selection.apply):
        with pytest.raises(error, match=named):
            attempt(model)
    if before is not None:
        before.assert_same()


def test_quantised_layers_may_be_frozen():
    model = network()
    model[0].weight = nn.Parameter(torch.ones(8, 4, dtype=torch.int8), requires_grad=False)
    selection = chosen(network(), "4.weight")
    selection.apply(model)
    assert trainable(model) == ["4.weight"]
    hidlr.Selection(selection.groups).undo(model)  # leaves it alone
    assert "0.weight" not in trainable(model)


def test_something_that_is_no_optimizer():
    model = network()
    with pytest.raises(hidlr.InputTypeError, match="SGDx"):
        chosen(model, "4.weight").apply(model, type("SGDx", (), {})())
    assert len(trainable(model)) == 6


def test_groups_whose_parameters_are_not_known():
    meter = InfluenceMeter()
    meter.observe("a", 3, slope=1.0, curvature=1.0)
    selection = hidlr.select(Influence.of(meter), top=1)
    with pytest.raises(hidlr.StateError, match="located"):
        selection.apply(network())
    with pytest.raises(hidlr.StateError, match="located"):
        selection.transfer(network())


def test_ddp_comes_after(monkeypatch):
    from torch.nn.parallel import DistributedDataParallel

    model = network()
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)  # without a process group
    nn.Module.__init__(wrapped)
    wrapped.module = model
    with pytest.raises(hidlr.InputError, match="bare model first, then wrap"):
        chosen(model, "4.weight").apply(wrapped)
    assert len(trainable(model)) == 6


def test_tied_parameters_go_together():
    model = network()
    model[2].weight = nn.Parameter(torch.zeros(8, 8))
    model.append(nn.Linear(8, 8))
    model[5].weight = model[2].weight
    chosen(model, "2.weight").apply(model)
    assert trainable(model) == ["2.weight"]
    assert model[5].weight.requires_grad


def test_from_a_tuner_without_further_ado():
    model = network()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, "role"), lr=1e-2)
    tuner = hidlr.HiDLR(optimizer, total_steps=20, engine=hidlr.engines.Fixed(every=1))
    backward(model)
    optimizer.step()
    tuner.step(lambda: model(torch.ones(3, 4)).square().mean())
    selection = hidlr.select(tuner.influence(), top=1, always=["head"])
    selection.apply(model, optimizer)
    assert trainable(model) == ["4.weight", "4.bias"]
    assert "head alone" in selection.explain()
