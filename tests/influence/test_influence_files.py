"""Influence as JSON: what is written is read, and what is damaged is named."""

import json

import pytest
import torch

import hidlr
from hidlr.groups import Place
from hidlr.history import GroupRecord, History, StepRecord
from hidlr.influence import Influence

FOUND = Influence(
    ppi={"a": 0.5},
    total={"a": float("inf")},
    sizes={"a": 2, "b": 3},
    measured={"a": 1, "b": 0},
    refused={"a": 0, "b": 1},
    nonconvex={"a": 0, "b": 1},
    error={"a": 0.1},
    decrease={"a": 1.0, "b": 0.0},
    members={"a": ("0.weight",), "b": ("1.weight",)},
    places={"0.weight": Place("mlp", "layer_0", 0.5), "1.weight": Place("head", "head")},
)


def test_there_and_back(tmp_path):
    FOUND.save(tmp_path / "influence.json")
    assert Influence.load(tmp_path / "influence.json") == FOUND
    assert Influence.from_run(tmp_path) == FOUND


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "other"}, "schema"),
        ({"version": 2}, "version 2"),
        ({"ppi": {"a": "much"}}, "'ppi', 'a'"),
        ({"ppi": {"a": True}}, "'ppi', 'a'"),
        ({"sizes": {"a": 1.5}}, "'sizes', 'a'"),
        ({"sizes": [1]}, "'sizes'"),
        ({"members": {"a": "0.weight"}}, "'members', 'a'"),
        ({"places": {"a": ["mlp", "layer_0", 3]}}, "'places', 'a'"),
        ({"total": {}}, "ppi"),
    ],
)
def test_damage_is_named(tmp_path, change, named):
    path = tmp_path / "influence.json"
    path.write_text(json.dumps({**FOUND.to_dict(), **change}))
    with pytest.raises(hidlr.StateError, match=named):
        Influence.load(path)


def test_text_that_is_not_json(tmp_path):
    (tmp_path / "influence.json").write_text("{")
    with pytest.raises(hidlr.StateError, match=r"influence\.json"):
        Influence.load(tmp_path / "influence.json")


def test_a_folder_with_a_history_alone_will_do(tmp_path):
    history = History(tmp_path / "history.jsonl")
    history.append(StepRecord(0, "", (GroupRecord("a", 2, 1.0, 1.0, 1.0, 1.0, 0.0, True),)))
    history.close()
    assert Influence.from_run(tmp_path).ppi == {"a": 0.5}


def test_a_folder_without_either_is_no_run(tmp_path):
    with pytest.raises(hidlr.InputError, match=r"history\.jsonl"):
        Influence.from_run(tmp_path)


def test_places_come_from_the_model_and_its_groups():
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    groups = hidlr.param_groups(model, "role_layer")
    bare = Influence({}, {}, {group["name"]: 1 for group in groups}, {}, {})
    wrapped = torch.nn.Module()
    wrapped._orig_mod = model  # what torch.compile makes, without its compiler
    found = bare.located(wrapped, groups)
    assert found.members == {
        "layer_0/mlp": ("0.weight",), "layer_0/bias": ("0.bias",), "head/head": ("2.weight", "2.bias"),
    }  # fmt: skip
    assert found.places["0.weight"] == Place("mlp", "layer_0", 0.5)
    with pytest.raises(hidlr.InputError, match="layer_0/mlp"):
        bare.located(torch.nn.Linear(4, 8), groups)
