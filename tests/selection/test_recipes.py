"""Recipes: what is saved is loaded, and what was edited badly is named."""

import json

import pytest
from test_applying import chosen, network

import hidlr
from hidlr.selection.recipe import from_dict, to_dict


def recipe():
    return to_dict(chosen(network(), "2.bias", "4.weight"))


def test_there_and_back(tmp_path):
    selection = chosen(network(), "2.bias", "4.weight")
    selection.save(tmp_path / "recipe.json")
    again = hidlr.Selection.load(tmp_path / "recipe.json")
    assert again == selection
    assert again.to_dict() == selection.to_dict()
    model = network()
    again.apply(model)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["2.bias", "4.weight"]


def test_people_can_read_it(tmp_path):
    chosen(network(), "4.weight").save(tmp_path / "recipe.json")
    text = (tmp_path / "recipe.json").read_text()
    assert '"name": "4.weight",\n      "train": true,' in text


def edited(change):
    data = recipe()
    change(data)
    return data


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: r.update(schema="pickle"), "schema"),
        (lambda r: r.update(version=99), "version 99"),
        (lambda r: r.pop("groups"), "lacks 'groups'"),
        (lambda r: r.update(groups={}), "'groups' must be a list"),
        (lambda r: r.update(rule=3), "'rule' must be text"),
        (lambda r: r["groups"].append("x"), "group 6 must be an object"),
        (lambda r: r["groups"][0].update(train="yes"), r"group 0 \('0.weight'\): 'train' must be true or false"),
        (lambda r: r["groups"][0].update(train=1), "'train' must be true or false"),
        (lambda r: r["groups"][0].update(size=-1), "'size'"),
        (lambda r: r["groups"][0].update(size=True), "'size'"),
        (lambda r: r["groups"][0].update(ppi="high"), "'ppi' must be a number or null"),
        (lambda r: r["groups"][0].update(parameters="0.weight"), "'parameters' must be a list"),
        (lambda r: r["groups"][0].update(parameters=["0.weight"]), "lacks 'name'"),
        (lambda r: r["groups"][0]["parameters"][0].update(depth=2), r"depth is in \(0, 1\)"),
        (lambda r: r["groups"][0]["parameters"][0].update(role=2), "'role' must be text"),
        (lambda r: r["groups"].append(r["groups"][0]), "'0.weight' occurs twice"),
        (lambda r: [g.update(train=False) for g in r["groups"]], "trains nothing"),
    ],
)
def test_bad_edits(tmp_path, change, named):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(edited(change)))
    with pytest.raises(hidlr.StateError, match=named):
        hidlr.Selection.load(path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "not json", '"x"', "null"])
def test_other_files(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(hidlr.StateError, match=r"recipe\.json"):
        hidlr.Selection.load(tmp_path / "recipe.json")


def test_a_good_edit():
    data = edited(lambda r: r["groups"][0].update(train=True))
    assert hidlr.Selection(**from_dict(data)).kept == ("0.weight", "2.bias", "4.weight")
