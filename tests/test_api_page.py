"""The API page has every public name, and what it shows says what it takes, gives and raises, in which units."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import hidlr

PAGE = (Path(__file__).parent.parent / "docs/api.md").read_text()
WHOLE_MODULES = re.findall(r"^\.\. automodule:: (\S+)\n   :members:$", PAGE, re.MULTILINE)
DIRECTIVES = dict(re.findall(r"^\.\. auto(?:function|class):: (\S+)((?:\n   :\S.*)*)", PAGE, re.MULTILINE))


def shown(name: str) -> bool:
    thing = getattr(hidlr, name)
    if inspect.ismodule(thing):
        return thing.__name__ in WHOLE_MODULES
    by_module = thing.__module__ in WHOLE_MODULES and name in __import__(thing.__module__, fromlist=["*"]).__all__
    return f"hidlr.{name}" in DIRECTIVES or by_module


@pytest.mark.parametrize("name", hidlr.__all__)
def test_every_public_name_is_on_the_page(name):
    assert shown(name), f"docs/api.md lacks {name}"


def test_every_name_on_the_page_is_there():
    for name in DIRECTIVES:
        module, _, last = name.rpartition(".")
        assert hasattr(__import__(module, fromlist=[last]), last)


@pytest.mark.parametrize("name", [name for name in hidlr.__all__ if inspect.isclass(getattr(hidlr, name))])
def test_classes_show_their_methods(name):
    thing = getattr(hidlr, name)
    public = [member for member, value in vars(thing).items() if inspect.isfunction(value) and member[0] != "_"]
    if f"hidlr.{name}" in DIRECTIVES and public:
        assert ":members:" in DIRECTIVES[f"hidlr.{name}"]


ENTRANCES = ["HiDLR", *(name for name in hidlr.__all__ if inspect.isfunction(getattr(hidlr, name)))]


@pytest.mark.parametrize("name", ENTRANCES)
def test_entrances_say_what_they_take_give_and_raise_and_have_an_example(name):
    doc = inspect.getdoc(getattr(hidlr, name))
    sections = ["Args", "Raises", "Example"] + ["Returns"] * (name != "HiDLR")
    assert [section for section in sections if f"\n{section}:\n" not in doc] == []


# What a float is measured in, or that it is a bare number.
UNIT = re.compile(r"\(.+\)|[sS]hares?\b|factor|loss(es)?\b|seconds|steps?\b|entries|number|0 |\d", re.DOTALL)


def floats():
    for name in hidlr.__all__:
        thing = getattr(hidlr, name)
        if inspect.isclass(thing) and dataclasses.is_dataclass(thing):
            for field in dataclasses.fields(thing):
                if "float" in str(field.type) and field.init:
                    yield name, field.name


@pytest.mark.parametrize(("name", "field"), list(floats()))
def test_floats_say_their_unit(name, field):
    doc = inspect.getdoc(getattr(hidlr, name))
    (said,) = re.findall(rf"^    {field}: (.*(?:\n        .*)*)", doc, re.MULTILINE)
    assert UNIT.search(said), f"{name}.{field}: {said}"


@pytest.mark.parametrize("thing", [hidlr.HiDLR.paper, hidlr.Influence, hidlr.suggest_groups, hidlr.RateReport])
def test_what_comes_from_the_paper_says_so(thing):
    assert "2501.06954" in thing.__doc__
