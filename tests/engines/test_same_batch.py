import json

import pytest

from hidlr.engines.same_batch import SameBatch


def watched(*probes, noise=1e-6):
    same = SameBatch()
    for base, again, exact in probes:
        same.compare(base, again, noise, exact)
    return same


def test_found_where_losses_agree_at_parameters_that_have_learnt_something():
    probes = [(2.0, float("nan"), True), (1.5, 2.0, True), (1.2, 1.5, True)]
    assert not watched(*probes[:2]).found
    assert watched(*probes).found


def test_the_first_parameters_say_nothing():
    # A last layer that starts at zero has the same loss on every batch, ln 10 here.
    assert not watched((2.3026, float("nan"), True), (2.1, 2.3026, True), (1.9, 2.2, True), (1.8, 1.9, True)).found


def test_one_disagreement_settles_it():
    assert not watched((2.0, float("nan"), True), (1.5, 2.1, True), (1.2, 1.5, True), (1.0, 1.2, True)).found


def test_an_average_of_several_points_cannot_be_compared():
    probes = [(2.0, float("nan"), True), (1.5, 2.0, False), (1.2, 1.7, False)]
    assert not watched(*probes).found
    assert watched(*probes, (1.1, 1.4, True), (1.0, 1.1, True)).found


@pytest.mark.parametrize("seen", [1, 2, 3])
def test_continues_from_its_state(seen):
    probes = [(2.0, float("nan"), True), (1.5, 2.0, True), (1.2, 1.5, True)]
    restored = SameBatch()
    restored.load_state_dict(json.loads(json.dumps(watched(*probes[:seen]).state_dict())))
    for base, again, exact in probes[seen:]:
        restored.compare(base, again, 1e-6, exact)
    assert restored.found
