import dataclasses
import itertools
import json

import pytest
import torch

from hidlr.engines.budget import Budget
from hidlr.engines.protocol import StepView
from hidlr.engines.warm_up import WarmUp


def view_at(step, rate, *, momentum=0.9, build_up=1.0, factor=1.0, ahead=1.0, noise=0.0):
    rates = torch.tensor([rate, rate], dtype=torch.float64)
    return StepView(
        step=step,
        names=("a", "b"),
        rates=rates,
        tuned=rates / factor,
        slopes=torch.ones(2, dtype=torch.float64),
        sizes=(1, 1),
        factor=factor,
        ahead=ahead,
        base=1.0,
        noise=noise,
        momentum=momentum,
        build_up=build_up,
    )


def climb(minimum, *, steps=1000, start=1e-3, every=None, **kind):
    """Follow a parabola whose minimum lies at a fixed rate: b = 1/rate^0, so b = rate, A = rate^2/minimum."""
    warm_up = WarmUp(Budget(1.0, steps, None), every)
    warm_up.begin(0, 1.0)
    rate, rates = start, []
    for step in range(1, steps):
        if warm_up.under_way and warm_up.due(step):
            rate *= warm_up.follow(view_at(step, rate, **kind), rate, rate**2 / minimum)
            rates.append(rate)
    return warm_up, rates


def test_not_under_way_before_it_begins():
    warm_up = WarmUp(Budget(0.1, 100, None), None)
    assert (warm_up.begun, warm_up.under_way) == (False, False)


def test_starts_below_the_minimum_and_lower_still_while_a_velocity_fills():
    assert WarmUp(Budget(0.1, 1000, None), None).begin(0, 1.0) == WarmUp.start
    assert WarmUp(Budget(0.1, 1000, None), None).begin(0, 10.0) == pytest.approx(WarmUp.start / 10)


@pytest.mark.parametrize(
    ("kind", "gain"),
    [
        ({"momentum": 0.9}, WarmUp.gain_average),
        ({"momentum": 0.9, "build_up": 10.0}, WarmUp.gain_heavy_ball),
        ({"momentum": 0.0}, WarmUp.gain_plain),
    ],
    ids=["averages", "heavy ball", "one batch"],
)
def test_climbs_to_gain_times_the_minimum_and_ends(kind, gain):
    warm_up, rates = climb(0.05, **kind)
    assert not warm_up.under_way
    assert rates[-1] == pytest.approx(gain * 0.05, rel=0.05)
    # Up by 1.1 a step at most, and the beat is two steps.
    ratios = [b / a for a, b in itertools.pairwise(rates)]
    assert max(ratios) <= 1.1**2 * (1 + 1e-12)


def test_comes_down_again_from_far_too_high():
    _, rates = climb(1e-6, start=1.0)
    assert rates[-1] == pytest.approx(WarmUp.gain_average * 1e-6, rel=0.05)
    assert min(b / a for a, b in itertools.pairwise(rates)) >= WarmUp.fall


def test_ends_after_its_share_of_the_run_wherever_it_is():
    warm_up, rates = climb(1e9, steps=200)
    assert not warm_up.under_way
    assert len(rates) <= WarmUp.longest * 200 / 2 + 1


def test_a_large_gradient_long_ago_does_not_outweigh_the_present():
    # The loss was a thousand times steeper at first, with its minimum elsewhere.
    warm_up = WarmUp(Budget(1.0, 1000, None), None)
    warm_up.begin(0, 1.0)
    rate = 0.1
    for step in range(1, 30):
        steepness, minimum = (1e3, 1e-3) if step < 5 else (1.0, 0.1)
        factor = warm_up.follow(view_at(step, rate), steepness * rate, steepness * rate**2 / minimum)
    assert factor == WarmUp.rise**2


def test_a_way_below_the_noise_of_the_loss_moves_nothing():
    warm_up = WarmUp(Budget(1.0, 1000, None), None)
    warm_up.begin(0, 1.0)
    assert warm_up.follow(view_at(2, 0.1, noise=1e-3), 0.01, 0.001) == 1.0
    assert warm_up.follow(view_at(2, 0.1, noise=1e-5), 0.01, 0.001) > 1.0


def test_the_steps_own_batch_is_believed_less():
    unseen, own = (WarmUp(Budget(1.0, 1000, None), None) for _ in range(2))
    unseen.begin(0, 1.0)
    own.begin(0, 1.0)
    assert unseen.follow(view_at(2, 0.1), 1.0, 2.0) > own.follow(view_at(2, 0.1), 1.0, 2.0, seen=True)


def test_few_probes_may_rise_faster_but_at_most_double():
    _, rates = climb(1e9, steps=400, every=20)
    ratios = [b / a for a, b in itertools.pairwise(rates)]
    assert max(ratios) == 2.0


def test_a_parabola_without_a_minimum_moves_nothing():
    warm_up = WarmUp(Budget(0.1, 1000, None), None)
    warm_up.begin(0, 1.0)
    assert warm_up.follow(view_at(2, 0.1), 1.0, -1.0) == 1.0


def test_in_a_schedules_own_warm_up_the_rates_to_come_are_compared():
    # Present rate 0.01, but the schedule will make 0.1 of it; the minimum lies at 0.02.
    warm_up = WarmUp(Budget(0.1, 1000, None), None)
    warm_up.begin(0, 1.0)
    factor = warm_up.follow(view_at(2, 0.01, factor=0.1), 0.01, 0.01**2 / 0.02)
    assert factor == pytest.approx(WarmUp.gain_average * 0.02 / 0.1)


def test_continues_from_its_state():
    first, second = (WarmUp(Budget(0.1, 300, None), None) for _ in range(2))
    first.begin(0, 10.0)
    first.follow(view_at(2, 0.01), 0.02, 0.001)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    step = dataclasses.replace(view_at(4, 0.011))
    assert second.follow(step, 0.03, 0.002) == first.follow(step, 0.03, 0.002)
    assert second.state_dict() == first.state_dict()
