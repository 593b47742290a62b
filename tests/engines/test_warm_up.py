import dataclasses
import itertools
import json
import math

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


def begun(*, steps=1000, every=None, **kind):
    warm_up = WarmUp(Budget(1.0, steps, None), every)
    warm_up.begin(view_at(0, 1.0, **kind))
    return warm_up


def climb(balance, *, steps=1000, start=1e-3, every=None, **kind):
    """Follow ways whose minimum lies at xi = (balance / rate) / gain: at rate = balance all is well."""
    warm_up = begun(steps=steps, every=every)
    rate, rates = start, []
    for step in range(1, steps):
        if warm_up.under_way and warm_up.due(step):
            rate *= warm_up.follow(view_at(step, rate, **kind), 1.0, WarmUp.gain * rate / balance)
            rates.append(rate)
    return warm_up, rates


def test_not_under_way_before_it_begins():
    warm_up = WarmUp(Budget(0.1, 100, None), None)
    assert (warm_up.begun, warm_up.under_way) == (False, False)


def test_starts_below_the_minimum_and_lower_still_while_a_velocity_fills():
    assert WarmUp(Budget(0.1, 1000, None), None).begin(view_at(0, 1.0)) == WarmUp.start
    filling = WarmUp(Budget(0.1, 1000, None), None).begin(view_at(0, 1.0, build_up=10.0))
    assert filling == pytest.approx(WarmUp.start / 10)


def test_starts_below_what_a_schedules_own_warm_up_will_make_of_the_rates():
    start = WarmUp(Budget(0.1, 1000, None), None).begin(view_at(0, 1.0, factor=0.05))
    assert start == pytest.approx(WarmUp.start * 0.05)


def test_a_run_too_short_for_the_climb_starts_higher():
    # 3 probes, each at most a doubling: the reach is the same from a higher start.
    start = WarmUp(Budget(0.1, 120, None), 20).begin(view_at(0, 1.0))
    assert start * WarmUp.highest**3 == pytest.approx(WarmUp.start * WarmUp.reach)
    assert WarmUp(Budget(0.1, 40, None), 20).begin(view_at(0, 1.0)) == WarmUp.highest_start


def test_climbs_until_progress_and_noise_balance_and_ends():
    warm_up, rates = climb(0.05)
    assert not warm_up.under_way
    assert rates[-1] == pytest.approx(0.05, rel=0.05)
    # Up by 1.1 a step at most, and the beat is two steps.
    ratios = [b / a for a, b in itertools.pairwise(rates)]
    assert max(ratios) <= 1.1**2 * (1 + 1e-12)


def test_comes_down_again_from_far_too_high():
    _, rates = climb(1e-6, start=1.0)
    assert rates[-1] == pytest.approx(1e-6, rel=0.05)
    assert min(b / a for a, b in itertools.pairwise(rates)) >= WarmUp.fall * (1 - 1e-12)


def test_ends_after_its_share_of_the_run_wherever_it_is():
    warm_up, rates = climb(1e9, steps=200)
    assert not warm_up.under_way
    assert len(rates) <= WarmUp.longest * 200 / 2 + 1


def test_a_large_gradient_long_ago_does_not_outweigh_the_present():
    # The loss was a thousand times steeper at first, with its minimum elsewhere.
    warm_up = begun(steps=100)
    for step in range(1, 30):
        steepness, xi = (1e3, 0.01) if step < 20 else (1.0, 2.0)
        factor = warm_up.follow(view_at(step, 0.1), steepness, steepness / xi)
    assert factor == WarmUp.rise**2


def wander(steps, probes):
    """Rates after noise about a balance: the minimum lies in turn at half and at twice where it is well."""
    warm_up = begun(steps=steps)
    warm_up.follow(view_at(1, 0.1), 1.0, 10.0)  # arrived
    rates = [0.1]
    for k in range(probes):
        xi = (0.5, 2.0)[k % 2] / WarmUp.gain
        rates.append(rates[-1] * warm_up.follow(view_at(2 + k, rates[-1]), 1.0, 1 / xi))
    return rates[10:]


def test_in_a_long_run_a_single_probe_counts_for_less():
    short, long = wander(200, 40), wander(20_000, 40)
    changes = [max(abs(math.log(b / a)) for a, b in itertools.pairwise(rates)) for rates in (short, long)]
    assert changes[1] < changes[0] / 10


def test_a_long_run_continues_from_its_state():
    arrived, ahead = (1.0, 10.0), (1.0, 0.2)
    warm_up = begun(steps=20_000)
    for step, way in enumerate((arrived, *[ahead] * 400), start=1):
        warm_up.follow(view_at(step, 0.1), *way)
    state = json.loads(json.dumps(warm_up.state_dict()))
    assert (state["found"], state["arrived"]) == (False, True)  # the minimum lies ahead again
    restored = begun(steps=20_000)
    restored.load_state_dict(state)
    factor = restored.follow(view_at(402, 0.1), *ahead)
    assert factor == warm_up.follow(view_at(402, 0.1), *ahead)
    assert 1 < factor < 1.01


def test_before_the_climb_has_arrived_a_long_run_is_as_fast_as_a_short_one():
    factors = [begun(steps=steps).follow(view_at(1, 0.1), 1.0, 0.5) for steps in (200, 20_000)]
    assert factors[0] == factors[1] > 1


def test_next_to_nothing_left_of_the_loss_raises_no_rate():
    kept, raised = (begun(steps=200).follow(view_at(1, 0.1), 1.0, 0.1, spent=spent) for spent in (True, False))
    assert (kept, raised > 1) == (1.0, True)
    assert begun(steps=200).follow(view_at(1, 0.1), 1.0, 100.0, spent=True) < 1  # but lowers it


def test_a_way_below_the_noise_of_the_loss_moves_nothing():
    warm_up = begun()
    assert warm_up.follow(view_at(2, 0.1, noise=1e-3), 0.01, 0.001) == 1.0
    assert warm_up.follow(view_at(2, 0.1, noise=1e-5), 0.01, 0.001) > 1.0


def test_the_steps_own_batch_is_believed_less():
    unseen, own = begun(), begun()
    assert unseen.follow(view_at(2, 0.1), 1.0, 2.0) > own.follow(view_at(2, 0.1), 1.0, 2.0, seen=True)


def test_few_probes_may_rise_faster_but_at_most_double():
    def steepest(steps, every):
        _, rates = climb(1e9, steps=steps, every=every)
        return max(b / a for a, b in itertools.pairwise(rates))

    assert steepest(2000, 20) == pytest.approx(WarmUp.steepest_sure)
    assert steepest(340, 20) == pytest.approx(WarmUp.reach ** (1 / 8))
    assert steepest(400, 50) == pytest.approx(WarmUp.highest)


def test_climbs_faster_while_probe_after_probe_the_minimum_lies_ahead():
    def third(*ways, stuck=False):
        warm_up = WarmUp(Budget(0.1, 2000, None), 7)
        warm_up.begin(view_at(0, 1.0))
        return [warm_up.follow(view_at(7 * k, 0.1), *way, stuck=stuck) for k, way in enumerate(ways, start=1)][-1]

    ahead, endless, behind = (1.0, 0.5), (1.0, -0.5), (1.0, 2.0)  # xi = 2, none, 1/2
    assert third(ahead, ahead, ahead) == pytest.approx(WarmUp.steepest_sure, rel=0.01)
    # One probe alone, a way that bends down, a last way that ended beyond its minimum: as always.
    assert third(ahead) == third(ahead, ahead, endless) == WarmUp.steepest
    assert third(ahead, ahead, behind) <= WarmUp.steepest


def test_once_the_minimum_lay_behind_it_climbs_slowly():
    beyond, a_little_before = (1.0, 2.0), (1.0, 1.2)  # xi = 1/2, 0.83

    def then(*ways, stuck=False):
        warm_up = WarmUp(Budget(0.1, 400, None), 7)
        warm_up.begin(view_at(0, 1.0))
        warm_up.follow(view_at(7, 0.1), *beyond, stuck=stuck)
        factors = [warm_up.follow(view_at(7 * k, 0.1), *way) for k, way in enumerate(ways, start=2)]
        restored = WarmUp(Budget(0.1, 400, None), 7)
        restored.load_state_dict(json.loads(json.dumps(warm_up.state_dict())))
        assert restored.follow(view_at(84, 0.1), *ways[-1]) == warm_up.follow(view_at(84, 0.1), *ways[-1])
        return factors

    assert max(then(*[a_little_before] * 8)) == WarmUp.steepest_found
    # On a plateau that says nothing; and a minimum that lies ahead again was not reached.
    assert max(then(*[a_little_before] * 8, stuck=True)) > WarmUp.steepest_found
    assert then(*[(1.0, 0.5)] * 8)[-1] == pytest.approx(WarmUp.steepest_sure, rel=0.01)


def test_no_climb_goes_back_to_where_the_loss_exploded():
    warm_up = begun()
    warm_up.exploded(view_at(2, 0.1))
    rate = 0.01
    rates = []
    for step in range(4, 100, 2):
        # Half way to where nothing lies ahead: no reason to try again.
        rate *= warm_up.follow(view_at(step, rate), 1.0, 1.0)
        rates.append(rate)
    assert [max(rates), rates[-1]] == pytest.approx([WarmUp.back_off * 0.1] * 2)
    restored = begun()
    restored.load_state_dict(json.loads(json.dumps(warm_up.state_dict())))
    assert restored.follow(view_at(100, rate), 1.0, 1.0) == pytest.approx(1.0)


def test_the_limit_of_an_explosion_rises_slowly_while_the_minimum_lies_ahead():
    warm_up = begun()
    warm_up.exploded(view_at(2, 0.1))
    rate = limit = WarmUp.back_off * 0.1
    for step in range(4, 40, 2):
        rate *= warm_up.follow(view_at(step, rate), 1.0, 0.1)
        limit *= WarmUp.relax
        assert rate < limit * 1.0001
    assert rate > 2 * WarmUp.back_off * 0.1


def test_parabolas_without_a_minimum_ahead():
    # Downhill ever steeper: on; uphill into a bowl, which lies behind: back; uphill from a summit: nothing known.
    assert begun().follow(view_at(2, 0.1), 1.0, -1.0) == WarmUp.rise**2
    assert begun().follow(view_at(2, 0.1), -1.0, 1.0) == WarmUp.fall
    assert begun().follow(view_at(2, 0.1), -1.0, -1.0) == 1.0


def test_plain_descent_climbs_out_of_a_plateau_whatever_the_noise_says():
    noise_only = (-0.1, 1.0)
    for kind in ({"momentum": 0.0}, {"momentum": 0.9, "build_up": 10.0}):
        assert begun().follow(view_at(2, 0.1, **kind), *noise_only, stuck=True) == WarmUp.rise**2
        assert begun().follow(view_at(2, 0.1, **kind), *noise_only) == WarmUp.fall
    # Steps that are averages of normalised gradients do not shrink on a plateau.
    assert begun().follow(view_at(2, 0.1), *noise_only, stuck=True) == WarmUp.fall


def test_while_the_schedule_raises_the_rates_they_are_only_lowered():
    warm_up = begun(factor=0.1)
    assert warm_up.follow(view_at(2, 0.01, factor=0.2), 1.0, 0.1) == 1.0
    assert begun(factor=0.1).follow(view_at(2, 0.01, factor=0.2), 1.0, 100.0) < 1.0
    # A factor below 1 that falls is a decay, not a warm-up.
    decaying = begun(factor=0.9)
    assert decaying.follow(view_at(2, 0.01, factor=0.8), 1.0, 0.1) > 1.0


def test_the_average_looked_back_at_grows_old_with_the_run_and_then_no_older():
    warm_up = begun(steps=1000)
    assert warm_up.weight(2) == 1.0
    assert warm_up.weight(100) == pytest.approx(2 / 25)
    assert warm_up.weight(400) == pytest.approx(2 / 50)
    assert warm_up.weight(480) == pytest.approx(2 / 50)


def test_continues_from_its_state():
    first, second = (WarmUp(Budget(0.1, 300, None), None) for _ in range(2))
    first.begin(view_at(0, 1.0, build_up=10.0))
    first.follow(view_at(2, 0.01), 0.02, 0.001)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    step = dataclasses.replace(view_at(4, 0.011))
    assert second.follow(step, 0.03, 0.002) == first.follow(step, 0.03, 0.002)
    assert second.state_dict() == first.state_dict()
