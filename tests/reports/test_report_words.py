import math

import pytest

from hidlr.reports.words import (
    cost_sentence,
    influence_sentence,
    loss_sentence,
    phases_sentence,
    place_sentence,
    rates_sentence,
    refused_sentence,
)


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ({}, ""),
        ({"a": 1e-3}, "The rate of a is 1.0e-3."),
        ({"a": 1e-3, "b": 1.01e-3}, "All 2 groups have nearly the same rate, 1.0e-3."),
        ({"a": 1e-3, "b": 2.5e-3}, "The rates span a factor of 2.5: b highest (2.5e-3), a lowest (1.0e-3)."),
        ({"a": 0.0, "b": math.nan}, "No group has a rate above 0."),
        ({"a": 1.0, "b": 0.0}, "The rate of a is 1.0. 1 group without a finite rate above 0 not counted."),
    ],
)
def test_rates(rates: dict[str, float], sentence: str) -> None:
    assert rates_sentence(rates) == sentence


def test_very_far_rates() -> None:
    assert "factor of 1.0e300:" in rates_sentence({"a": 1e-200, "b": 1e100})
    assert rates_sentence({"a": 1e-300, "b": 1e300})


def test_cost() -> None:
    assert cost_sentence(0.082, 1, 1.0) == "Probing took 8.2% of the run's time (1 forward pass)."
    assert cost_sentence(None, 64, 1.25) == "Probing took 64 forward passes and 1.25 s."
    assert cost_sentence(math.nan, 64, math.nan) == "Probing took 64 forward passes and nan s."


def test_refused() -> None:
    assert refused_sentence(0, {}) == "No group was measured."
    assert refused_sentence(9, {}) == "None of 9 measurements was refused."
    assert refused_sentence(9, {"not convex": 1}) == "1 of 10 measurements was refused: not convex."
    many = refused_sentence(87, {"not convex": 1, "below the noise": 2})
    assert many == "3 of 90 measurements were refused, most often: below the noise."


def test_influence() -> None:
    assert influence_sentence({"a": 1.0, "b": math.nan, "c": 0.0}) == ""
    assert "12,000 times" in influence_sentence({"a": 1.0, "b": 12_345.0})


def test_loss() -> None:
    assert loss_sentence(math.nan, math.nan, 2) == "2 losses were not finite."
    assert loss_sentence(2.0, 1.0, 0) == "The training loss went from 2 to 1."


def test_phases() -> None:
    assert phases_sentence([(0, "a"), (1, "a")]) == ""
    assert phases_sentence([(step, "ab"[step % 2]) for step in range(20)]) == ""
    assert phases_sentence([(0, "a"), (10, "a"), (20, "b")]) == "Phases: a (step 0 to 10), b (from 20)."


def test_place() -> None:
    assert place_sentence("x", "loss", {"x": 1.0}, higher=False) == ""
    assert place_sentence("x", "loss", {"x": math.nan, "y": 1.0, "z": 2.0}, higher=False) == ""
    tie = place_sentence("x", "loss", {"y": 1.0, "x": 1.0}, higher=False)
    assert tie == "x shares the best loss of 2, 1, with y."
    third = place_sentence("x", "accuracy", {"y": 3.0, "x": 1.0, "z": 2.0}, higher=True)
    assert third == "x is number 3 of 3 by accuracy: 1; y is best (3)."


def test_names_with_control_characters_stay_on_one_line() -> None:
    assert "\n" not in rates_sentence({"a\nb": 1.0, "c": 2.0})
