"""Groups for an optimizer that somebody else has built."""

import pytest
import torch
from torch import nn

import hidlr
from hidlr.integrations import regroup


def network():
    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3))


def names(optimizer):
    return {group["name"]: group["param_names"] for group in optimizer.param_groups}


def test_one_group_becomes_the_scheme_s():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.3)
    expected = hidlr.param_groups(model, "role", lr=0.1, weight_decay=0.3)
    assert regroup(optimizer, model, "role") == [group["name"] for group in expected]
    for group, other in zip(optimizer.param_groups, expected, strict=True):
        assert all(one is another for one, another in zip(group["params"], other["params"], strict=True))
        assert {key: group[key] for key in other if key != "params"} == {
            k: v for k, v in other.items() if k != "params"
        }


def test_options_of_the_old_groups_are_kept_and_tell_parts_apart():
    model = network()
    decayed = [p for p in model.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.5}, {"params": rest, "weight_decay": 0.0}])
    regroup(optimizer, model, "role")
    assert names(optimizer) == {
        "mlp": ["0.weight"],
        "bias": ["0.bias"],
        "norm": ["1.weight", "1.bias"],
        "head": ["3.weight"],
        "head:weight_decay=0.0": ["3.bias"],
    }
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0, 0.0, 0.5, 0.0]


def test_a_step_after_it_is_the_step_without_it():
    model, twin = network(), network()
    twin.load_state_dict(model.state_dict())
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.1) for m in (model, twin)]
    regroup(optimizers[0], model, "role")
    x = torch.randn(5, 4)
    for m, optimizer in zip((model, twin), optimizers, strict=True):
        m(x).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(dict(model.named_parameters()), dict(twin.named_parameters()), rtol=0, atol=0)


def test_frozen_parameters_stay_in_the_optimizer():
    model = network()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert regroup(optimizer, model, "role")[-1] == "frozen"
    assert names(optimizer)["frozen"] == ["0.weight", "0.bias"]
    hidlr.HiDLR(optimizer)  # a group without anything to train is no trouble


def test_an_optimizer_under_way_is_refused():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 4)).sum().backward()
    optimizer.step()
    with pytest.raises(hidlr.InputError, match="taken steps already"):
        regroup(optimizer, model, "role")


def test_another_model_s_optimizer_is_refused():
    optimizer = torch.optim.AdamW(network().parameters())
    with pytest.raises(hidlr.InputError, match="that the model lacks"):
        regroup(optimizer, network(), "role")
