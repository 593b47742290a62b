"""Transfer: by name, by relative depth, by role; reported, and refused when too little matches."""

import copy

import pytest
import torch
from test_applying import chosen
from torch import nn

import hidlr


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Tower(nn.Module):
    def __init__(self, depth, width=4, head="head", blocks="blocks"):
        super().__init__()
        self.embedding = nn.Embedding(7, width)
        self.add_module(blocks, nn.ModuleList(Block(width) for _ in range(depth)))
        self.add_module(head, nn.Linear(width, 3))
        self._names = blocks, head

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in getattr(self, self._names[0]):
            x = block(x)
        return getattr(self, self._names[1])(x)


def trainable(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("kept", "blocks"),
    [(["layer_0/norm"], [0, 1, 2]), (["layer_1/norm"], [3, 4, 5]), (["layer_0/norm", "layer_1/norm"], range(6))],
)
def test_from_two_layers_to_six_by_depth(kept, blocks):
    selection = chosen(Tower(2), *kept, by="role_layer")
    large = Tower(6, width=8)
    moved = selection.transfer(large)
    moved.apply(large)
    assert trainable(large) == {f"blocks.{k}.norm.{what}" for k in blocks for what in ("weight", "bias")}
    assert set(moved.match.exact) == {"embedding.weight", "head.weight", "head.bias"}
    assert moved.match.moved["blocks.4.up.weight"] == "blocks.1.up.weight"
    assert moved.match.unmatched == moved.match.unused == ()
    assert moved.parameters == sum(p.numel() for p in large.parameters() if p.requires_grad)


def test_from_six_layers_to_two():
    selection = chosen(Tower(6), "layer_1/norm", "layer_4/bias", by="role_layer")
    small = Tower(2)
    moved = selection.transfer(small)
    moved.apply(small)
    # Depths 1/4 and 3/4 lie at the middles of blocks 1 and 4 of six.
    assert trainable(small) == {
        "blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.1.up.bias", "blocks.1.down.bias",
    }  # fmt: skip
    assert moved.match.unused == ()


def test_the_same_architecture_is_exact():
    selection = chosen(Tower(3), "layer_1/norm", by="role_layer")
    moved = selection.transfer(Tower(3))
    assert moved.match.moved == {}
    assert moved.groups == selection.groups


def test_other_names_match_by_role_and_depth():
    selection = chosen(Tower(2), "layer_1/norm", "head/head", by="role_layer")
    other = Tower(4, head="score", blocks="layers")
    moved = selection.transfer(other)
    moved.apply(other)
    assert trainable(other) == {
        *(f"layers.{k}.norm.{what}" for k in (2, 3) for what in ("weight", "bias")), "score.weight", "score.bias",
    }  # fmt: skip


def test_names_alone_will_do():
    # As a tuner knows them: no roles, no layers.
    selection = chosen(Tower(2), "blocks.0.norm.weight")
    bare = hidlr.Selection(selection.groups, selection.rule)
    large = Tower(4)
    bare.transfer(large).apply(large)
    assert trainable(large) == {"blocks.0.norm.weight", "blocks.1.norm.weight"}


def test_what_does_not_match_is_frozen_and_told():
    selection = chosen(Tower(2), "layer_1/norm", "head/head", by="role_layer")
    other = Tower(2)
    other.extra = nn.Parameter(torch.zeros(3))
    del other.head
    other._names = ("blocks", "head")
    moved = selection.transfer(other)
    assert moved.match.unmatched == ("extra",)
    assert set(moved.match.unused) == {"head.weight", "head.bias"}
    moved.apply(other)
    assert not other.extra.requires_grad
    assert "extra" in moved.explain()
    assert "head.weight" in moved.explain()


def test_wrapped_models():
    selection = chosen(Tower(2), "layer_0/norm", by="role_layer")
    wrapped = nn.Module()
    wrapped.module = Tower(6)
    selection.transfer(wrapped).apply(wrapped)
    assert "module.blocks.2.norm.weight" in trainable(wrapped)


@pytest.mark.parametrize(
    "other",
    [
        nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
        nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(20)), nn.Flatten(), nn.Linear(3, 1)),
    ],
)
def test_too_unlike(other):
    selection = chosen(Tower(2), "layer_0/mlp", by="role_layer")
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(hidlr.StateError, match=r"too unlike: .* of"):
        selection.transfer(other)
    assert before.keys() == other.state_dict().keys()


def test_too_little_matches_although_the_head_does():
    selection = chosen(Tower(2), "head/head", by="role_layer")
    other = Tower(2)
    other.more = nn.ParameterList(nn.Parameter(torch.zeros(2)) for _ in range(40))
    with pytest.raises(hidlr.StateError, match=r"15 of 55 parameters have a like, 2 of them trained"):
        selection.transfer(other)
    assert selection.transfer(other, least=0.2).parameters == 15


def test_a_transferred_recipe_is_a_recipe(tmp_path):
    large = Tower(6)
    chosen(Tower(2), "layer_0/norm", by="role_layer").transfer(large).save(tmp_path / "large.json")
    hidlr.Selection.load(tmp_path / "large.json").apply(large)
    assert len(trainable(large)) == 6
