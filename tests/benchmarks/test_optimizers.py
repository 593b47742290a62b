"""Base optimizers of the benchmark: linear in each group's rate, and Muon one optimizer for all groups."""

import copy

import pytest
import torch
from torch import nn

import hidlr
from benchmarks import optimizers
from hidlr.compatibility import momentum_of
from hidlr.errors import InputError


class Net(nn.Module):
    """An embedding, a convolution, a hidden layer with a norm, and a head."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.conv = nn.Conv1d(6, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.hidden = nn.Linear(8, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, tokens):
        h = self.conv(self.embed(tokens).transpose(1, 2)).mean(-1)
        return self.head(torch.relu(self.hidden(self.norm(h))))


TOKENS, LABELS = torch.arange(40).reshape(8, 5) % 11, torch.arange(8) % 3
EACH = pytest.mark.parametrize("name", optimizers.names())


def loss_of(model):
    return nn.functional.cross_entropy(model(TOKENS), LABELS)


def train(model, optimizer, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def build(name, model, by="layer", lr=0.01, decay=0.1):
    return optimizers.build(name, hidlr.param_groups(model, by=by), lr, decay, model)


@EACH
@pytest.mark.parametrize("before", [0, 3])
def test_the_step_is_linear_in_each_groups_rate(name, before, float64):
    model = Net()
    optimizer = build(name, model)
    train(model, optimizer, before)
    count = len(optimizer.param_groups)
    assert count > 2

    def moves(scales):
        other = copy.deepcopy((model, optimizer.state_dict()))
        stepped = build(name, other[0])
        stepped.load_state_dict(other[1])
        starts = [[p.detach().clone() for p in group["params"]] for group in stepped.param_groups]
        for group, scale in zip(stepped.param_groups, scales, strict=True):
            group["lr"] *= scale
        train(other[0], stepped, 1)
        return [
            [p.detach() - start for p, start in zip(group["params"], own, strict=True)]
            for group, own in zip(stepped.param_groups, starts, strict=True)
        ]

    plain = moves([1.0] * count)
    scales = [0.0, *(0.5 + index for index in range(count - 1))]
    for scale, own, base in zip(scales, moves(scales), plain, strict=True):
        for moved, reference in zip(own, base, strict=True):
            torch.testing.assert_close(moved, scale * reference, rtol=1e-9, atol=1e-12)


@EACH
def test_every_base_optimizer_leaves_gradients_alone_and_can_be_tuned(name):
    model = Net()
    optimizer = build(name, model, by="all", lr=1e-4, decay=0.0)
    optimizer.zero_grad()
    loss_of(model).backward()
    before = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    for parameter, gradient in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=0)

    model = Net()
    optimizer = build(name, model, by="role", lr=1e-4, decay=0.0)
    tuner = hidlr.HiDLR(optimizer, total_steps=40)
    start = loss_of(model).item()
    for _ in range(40):
        train(model, optimizer, 1)
        tuner.step(lambda: loss_of(model))
    assert loss_of(model).item() < 0.7 * start
    assert all(record.losses for record in tuner.history)


def test_muon_takes_hidden_matrices_and_adamw_the_rest():
    model = Net()
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in optimizers.hidden_matrices(model)} == {"conv.weight", "hidden.weight"}

    joined = build("muon", model, by="all", lr=0.02)
    reference = copy.deepcopy(model)
    inner = [
        torch.optim.Muon([reference.hidden.weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [p for n, p in reference.named_parameters() if n not in ("conv.weight", "hidden.weight")],
            lr=0.02,
            weight_decay=0.1,
        ),
    ]
    model.conv.weight.requires_grad_(False)  # torch's Muon takes no convolutions, so leave it out of the comparison
    reference.conv.weight.requires_grad_(False)
    train(model, joined, 4)
    for _ in range(4):
        for part in inner:
            part.zero_grad()
        loss_of(reference).backward()
        for part in inner:
            part.step()
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f"{name}: {text}")


def test_muon_orthogonalises_a_convolution_as_a_matrix():
    model = Net()
    optimizer = build("muon", model, by="all", lr=1.0, decay=0.0)
    start = model.conv.weight.detach().clone()
    train(model, optimizer, 1)
    singular = torch.linalg.svdvals((model.conv.weight.detach() - start).flatten(1)) / (0.2 * 18**0.5)
    # Five iterations bring singular values near 1, all but the smallest ones.
    assert 0.7 < singular.median() <= singular.max() < 1.3


def test_muon_is_the_same_for_every_grouping():
    first = Net()
    second = copy.deepcopy(first)
    train(first, build("muon", first, by="tensor"), 3)
    train(second, build("muon", second, by="all"), 3)
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_muon_resumes_from_its_state():
    model = Net()
    optimizer = build("muon", model)
    train(model, optimizer, 2)
    twin = copy.deepcopy(model)
    resumed = build("muon", twin)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(model, optimizer, 2)
    train(twin, resumed, 2)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_hidlr_knows_how_long_muon_remembers():
    assert momentum_of(build("muon", Net()).param_groups[0]) == (0.95, 1.0)


def test_the_grid_has_half_decades_from_a_millionth_to_one():
    grid = optimizers.half_decades("adamw")
    assert (len(grid), grid[:3], grid[-2:]) == (13, (1e-6, 3e-6, 1e-5), (0.3, 1.0))
    assert list(grid) == sorted(grid)


def test_mistakes_are_named():
    with pytest.raises(InputError, match="did you mean 'adamw'"):
        optimizers.half_decades("adam")
    with pytest.raises(InputError, match="pass build"):
        optimizers.build("muon", hidlr.param_groups(Net(), by="all"), 0.1, 0.0)
