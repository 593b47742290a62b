import json

import pytest

from hidlr.engines.budget import Budget
from hidlr.errors import InputError


def points_measured(budget, steps, each):
    measured = 0
    for step in range(steps):
        if budget.due(step):
            budget.spend(step, each)
            measured += each
    return measured


@pytest.mark.parametrize("total_steps", [200, 1000, 5000])
@pytest.mark.parametrize("overhead", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("each", [1, 3, 12])
def test_a_run_spends_its_share(overhead, total_steps, each):
    # A training step is worth three forwards; there is at most one probe a step.
    share = min(overhead * 3, each) * total_steps
    measured = points_measured(Budget(overhead, total_steps, None), total_steps, each)
    assert 0.7 * share - each <= measured <= share + each


def test_an_expensive_start_is_paid_back():
    budget = Budget(0.1, 1000, None)
    budget.spend(0, 100)
    assert points_measured(budget, 1000, 2) <= 0.1 * 3 * 1000 - 100 + 2


def test_a_run_longer_than_announced_goes_on_probing():
    budget = Budget(0.1, 100, None)
    points_measured(budget, 100, 2)
    assert any(budget.due(step) for step in range(100, 250))


def test_every_fixes_the_period():
    budget = Budget(0.1, 100, 7)
    assert [step for step in range(30) if budget.due(step)] == [0, 7, 14, 21, 28]


def test_state_goes_through_json():
    budget, other = Budget(0.1, 100, None), Budget(0.1, 100, None)
    budget.spend(0, 9)
    other.load_state_dict(json.loads(json.dumps(budget.state_dict())))
    assert [other.due(step) for step in range(100)] == [budget.due(step) for step in range(100)]
    assert other.spent == budget.spent == 9


@pytest.mark.parametrize("overhead", [0.0, -0.1, float("nan")])
def test_a_share_that_is_not_positive(overhead):
    with pytest.raises(InputError, match=f"overhead={overhead}.*positive share"):
        Budget(overhead, 100, None)


@pytest.mark.parametrize("every", [0, -3])
def test_a_period_below_one(every):
    with pytest.raises(InputError, match=f"every={every}.*at least 1"):
        Budget(0.1, 100, every)
