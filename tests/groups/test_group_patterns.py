"""Patterns: first match wins, and whatever has no use is an error that says why and what to write."""

import re
from collections.abc import Callable
from typing import Any

import group_models as models
import pytest
from torch import nn

from hidlr.errors import InputError, InputTypeError
from hidlr.groups import param_groups


def names(model: nn.Module, by: Any) -> dict[str, list[str]]:
    return {group["name"]: group["param_names"] for group in param_groups(model, by)}


def frozen_start() -> nn.Module:
    model = models.mlp()
    model[0].requires_grad_(False)
    return model


def test_first_match_wins_and_order_is_the_dicts() -> None:
    assert names(models.mlp(), {"biases": "*.bias", "end": ["4.*", "2.*"], "rest": "*"}) == {
        "biases": ["0.bias", "2.bias", "4.bias"],
        "end": ["2.weight", "4.weight"],
        "rest": ["0.weight"],
    }
    assert list(names(models.mlp(), {"z": "4.*", "a": "2.*", "m": "*"})) == ["z", "a", "m"]


def test_regular_expressions_search() -> None:
    assert names(models.mlp(), {"first": r"re:^[02]\.", "rest": "re:."}) == {
        "first": ["0.weight", "0.bias", "2.weight", "2.bias"],
        "rest": ["4.weight", "4.bias"],
    }


def test_a_second_pattern_may_be_shadowed_while_its_group_is_not_empty() -> None:
    assert list(names(models.mlp(), {"a": "0.*", "b": ["0.bias", "*"]})) == ["a", "b"]


def test_frozen_parameters_are_left_out() -> None:
    assert names(frozen_start(), {"w": "*.weight", "b": "*.bias"}) == {
        "w": ["2.weight", "4.weight"],
        "b": ["2.bias", "4.bias"],
    }


def test_patterns_fit_with_and_without_a_wrapper() -> None:
    wrapped = models.Wrapper(models.mlp())
    assert names(wrapped, {"end": "4.*", "rest": "*"}) == names(wrapped, {"end": "module.4.*", "rest": "*"})


ERRORS: dict[str, tuple[Callable[[], nn.Module], Any, type[Exception], str]] = {
    "nothing, but near": (
        models.mlp,
        {"end": "4.wieght", "rest": "*"},
        InputError,
        "pattern '4.wieght' of group 'end' matches no parameter (did you mean '4.weight'?); "
        "the model has 6 parameters ('0.weight', '0.bias', '2.weight', '2.bias', '4.weight', ... 1 more)",
    ),
    "nothing, for want of a star": (
        models.Decoder,
        {"head": "output", "rest": "*"},
        InputError,
        "pattern 'output' of group 'head' matches no parameter "
        "(a glob must fit the whole name; did you mean 'output*'?)",
    ),
    "nothing, but part of a name is near": (
        models.Decoder,
        {"emb": "*token*.bias", "rest": "*"},
        InputError,
        "pattern '*token*.bias' of group 'emb' matches no parameter",
    ),
    "nothing, by case": (
        models.Decoder,
        {"head": "Output.*", "rest": "*"},
        InputError,
        "pattern 'Output.*' of group 'head' matches no parameter (upper and lower case count)",
    ),
    "nothing, a regular expression": (
        models.mlp,
        {"end": r"re:^9\.", "rest": "*"},
        InputError,
        r"pattern 're:^9\\.' of group 'end' matches no parameter; the model has 6 parameters",
    ),
    "nothing, second of a list": (
        models.mlp,
        {"end": ["4.*", "zzz"], "rest": "*"},
        InputError,
        "pattern 'zzz' of group 'end' matches no parameter; the model",
    ),
    "only frozen": (
        frozen_start,
        {"start": "0.*", "rest": "*"},
        InputError,
        "pattern '0.*' of group 'start' matches only frozen parameters: 2 parameters ('0.weight', '0.bias'); "
        "call requires_grad_(True) on them first, or leave the pattern out",
    ),
    "only a tied name": (
        lambda: models.Decoder(tied=True),
        {"head": "output.*", "rest": "*"},
        InputError,
        "pattern 'output.*' of group 'head' matches only 'output.weight', which is tied to 'tokens.weight' and "
        "stands under that name: match that one instead",
    ),
    "shadowed": (
        models.mlp,
        {"all": "*", "end": "4.*"},
        InputError,
        "group 'end' is empty: all that pattern '4.*' of group 'end' matches is taken before it by "
        "pattern '*' of group 'all'; the first match wins, so put 'end' first, or leave it out",
    ),
    "shadowed by two": (
        models.mlp,
        {"w": "4.weight", "b": "*.bias", "end": "4.*", "rest": "*"},
        InputError,
        "taken before it by pattern '4.weight' of group 'w' and pattern '*.bias' of group 'b'",
    ),
    "left over": (
        models.mlp,
        {"biases": "*.bias"},
        InputError,
        "no pattern matches 3 parameters ('0.weight', '2.weight', '4.weight'): add a pattern for them, or a last "
        'group for all that is left: "rest": "*"',
    ),
    "left over, one": (
        lambda: nn.Linear(2, 1),
        {"w": "weight"},
        InputError,
        "no pattern matches 1 parameter ('bias'): add",
    ),
    "invalid regular expression": (
        models.mlp,
        {"a": "re:(", "rest": "*"},
        InputError,
        "pattern 're:(' of group 'a' is no valid regular expression: missing ), unterminated subpattern",
    ),
    "empty dict": (models.mlp, {}, InputError, 'by is an empty dict: give it at least one group, e.g. {"rest": "*"}'),
    "empty list": (
        models.mlp,
        {"a": [], "rest": "*"},
        InputError,
        "group 'a' has no pattern: give it one, or leave the group out",
    ),
    "empty pattern": (models.mlp, {"a": "", "rest": "*"}, InputError, "pattern '' of group 'a' is empty: write a glob"),
    "empty regular expression": (models.mlp, {"a": "re:"}, InputError, "pattern 're:' of group 'a' is empty"),
    "empty group name": (models.mlp, {"": "*"}, InputError, "a group's name is the empty string"),
    "group name no string": (models.mlp, {3: "*"}, InputTypeError, "a group's name must be a string, got 3 (int)"),
    "pattern no string": (
        models.mlp,
        {"a": 3},
        InputTypeError,
        "the patterns of group 'a' must be a string or a list of strings, got 3",
    ),
    "pattern in list no string": (models.mlp, {"a": ["*", None]}, InputTypeError, "got ['*', None]"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_culprit_and_the_remedy(case: str) -> None:
    build, by, error, message = ERRORS[case]
    with pytest.raises(error, match=re.escape(message)):
        param_groups(build(), by)
