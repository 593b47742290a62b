import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as lrs

import hidlr
from hidlr.errors import HidlrWarning, InputError, InputTypeError
from hidlr.schedules import Composed, Horizon, read_rate, write_rate
from support.engines import Multiply

RATES = (0.1, 0.02)
STEPS = 14


def optimizer_of_two(rates=RATES, **options):
    groups = [
        {"params": [nn.Parameter(torch.ones(2))], "lr": rate, "name": name}
        for rate, name in zip(rates, "ab", strict=True)
    ]
    return torch.optim.SGD(groups, momentum=0.9, **options)


def used_rates(optimizer, steps, *, tuner=None, scheduler=None, first="tuner"):
    """The rates that each base step was taken with."""
    used = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["params"][0].grad = torch.ones(2)
        used.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        for who in ("tuner", "scheduler") if first == "tuner" else ("scheduler", "tuner"):
            if who == "tuner" and tuner is not None:
                tuner.step(lambda: torch.tensor(1.0))
            elif who == "scheduler" and scheduler is not None:
                # A plateau scheduler is told of a loss that stopped falling at step 3.
                args = (max(10.0 - step, 7.0),) if isinstance(scheduler, lrs.ReduceLROnPlateau) else ()
                scheduler.step(*args)
    return torch.tensor(used, dtype=torch.float64)


# -- our own horizon ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        (lambda progress: (1 - progress) ** 2, [1.0, 0.5625, 0.25, 0.0625]),
        (lambda progress: min(1.0, 0.5 + progress), [0.5, 0.75, 1.0, 1.0]),
        (lambda progress: 1, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_factors_and_the_rates_they_lead_to(schedule, expected):
    horizon = Horizon(schedule, 4)
    assert [horizon.factor(step) for step in range(4)] == pytest.approx(expected, rel=1e-15)
    assert horizon.factor(40) == horizon.factor(3)
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, total_steps=4, schedule=schedule, engine=Multiply([1.0, 1.0]))
    used = used_rates(optimizer, 4, tuner=tuner)
    torch.testing.assert_close(used, torch.tensor(expected)[:, None].double() * torch.tensor(RATES), rtol=1e-6, atol=0)


def test_a_change_of_rate_stays_inside_the_horizon():
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, total_steps=5, engine=Multiply([4.0, 0.5], at={1}))
    used = used_rates(optimizer, 5, tuner=tuner)
    factors = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2], dtype=torch.float64)
    tuned = torch.tensor([[1.0, 1.0]] * 2 + [[4.0, 0.5]] * 3, dtype=torch.float64)
    torch.testing.assert_close(
        used, factors[:, None] * tuned * torch.tensor(RATES, dtype=torch.float64), rtol=1e-12, atol=0
    )
    # The step itself was placed at the new rates: 0.8 * 0.1 * 4 and 0.8 * 0.02 / 2.
    assert tuner.history[0].rates == pytest.approx({"a": 0.32, "b": 0.008}, rel=1e-12)
    assert tuner.history[0].factor == 0.8


def test_without_an_end_rates_are_constant():
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0, 1.0]))
    assert used_rates(optimizer, 7, tuner=tuner).unique(dim=0).tolist() == [list(RATES)]


def test_more_steps_than_announced_hold_the_last_factor_and_warn_once():
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, total_steps=4, engine=Multiply([1.0, 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used_rates(optimizer, 4, tuner=tuner)
    with pytest.warns(HidlrWarning, match=r"more steps than total_steps=4.*real number of steps") as caught:
        used = used_rates(optimizer, 5, tuner=tuner)
    assert len(caught) == 1
    torch.testing.assert_close(used, (0.25 * torch.tensor(RATES)).double().expand(5, 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("total_steps", [0, -1])
def test_a_horizon_without_steps(total_steps):
    with pytest.raises(InputError, match=f"total_steps={total_steps}: .*at least 1"):
        hidlr.HiDLR(optimizer_of_two(), total_steps=total_steps)


@pytest.mark.parametrize("total_steps", [True, 10.0, "10"])
def test_a_horizon_that_is_no_whole_number(total_steps):
    with pytest.raises(InputTypeError, match=rf"total_steps={total_steps!r}: .*len\(loader\) \* epochs"):
        hidlr.HiDLR(optimizer_of_two(), total_steps=total_steps)


def test_an_unknown_schedule_lists_the_known_ones():
    with pytest.raises(InputError, match="schedule='poly': choose from linear, cosine, constant"):
        hidlr.HiDLR(optimizer_of_two(), total_steps=10, schedule="poly")


def test_a_callable_needs_the_end():
    with pytest.raises(InputError, match="callable schedule needs total_steps"):
        hidlr.HiDLR(optimizer_of_two(), schedule=lambda progress: 1.0)


def test_a_scheduler_in_the_place_of_a_schedule_is_sent_on():
    optimizer = optimizer_of_two()
    with pytest.raises(InputTypeError, match="a torch scheduler goes to scheduler="):
        hidlr.HiDLR(optimizer, total_steps=5, schedule=lrs.StepLR(optimizer, 2))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_factor_that_cannot_be(value):
    with pytest.raises(InputError, match=f"schedule returned {value} at step 2"):
        Horizon(lambda progress: value, 10).factor(2)


# -- torch's schedulers -------------------------------------------------------------------------


def warmed_cosine(optimizer):
    warm_up = lrs.LinearLR(optimizer, start_factor=0.2, total_iters=4)
    return lrs.SequentialLR(optimizer, [warm_up, lrs.CosineAnnealingLR(optimizer, 10)], [4])


def nested(optimizer):
    # The other way round torch itself warns (a ChainedScheduler first) or raises (at a milestone).
    return lrs.ChainedScheduler([warmed_cosine(optimizer), lrs.StepLR(optimizer, 3, 0.5)])


SCHEDULERS = {
    "LambdaLR": lambda o: lrs.LambdaLR(o, lambda t: 0.9**t),
    "MultiplicativeLR": lambda o: lrs.MultiplicativeLR(o, lambda t: 0.95),
    "StepLR": lambda o: lrs.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda o: lrs.MultiStepLR(o, [2, 7], 0.1),
    "ConstantLR": lambda o: lrs.ConstantLR(o, 0.3, 6),
    "LinearLR": lambda o: lrs.LinearLR(o, 0.1, 1.0, 8),
    "ExponentialLR": lambda o: lrs.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lrs.PolynomialLR(o, STEPS, 2.0),
    "CosineAnnealingLR": lambda o: lrs.CosineAnnealingLR(o, STEPS),
    "CosineAnnealingLR past its end": lambda o: lrs.CosineAnnealingLR(o, 4),
    "CosineAnnealingWarmRestarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, 2),
    "OneCycleLR": lambda o: lrs.OneCycleLR(o, [0.3, 0.07], total_steps=STEPS + 1),
    "OneCycleLR three phases": lambda o: lrs.OneCycleLR(o, 0.3, total_steps=STEPS + 1, three_phase=True),
    "CyclicLR": lambda o: lrs.CyclicLR(o, 0.01, 0.1, step_size_up=3),
    "CyclicLR per group": lambda o: lrs.CyclicLR(o, [0.01, 0.02], (0.1, 0.3), step_size_up=3, mode="triangular2"),
    "CyclicLR from a tuple": lambda o: lrs.CyclicLR(o, (0.01, 0.02), (0.1, 0.3), step_size_up=3),
    "ReduceLROnPlateau": lambda o: lrs.ReduceLROnPlateau(o, factor=0.5, patience=1),
    "ChainedScheduler": lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, 0.5, 4), lrs.ExponentialLR(o, 0.9)]),
    "SequentialLR": warmed_cosine,
    "ChainedScheduler of a SequentialLR": nested,
}


@pytest.mark.covers("plain loop", "schedule")
@pytest.mark.parametrize("first", ["tuner", "scheduler"])
@pytest.mark.parametrize("at", [(1,), (3,), (5, 9)], ids=str)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_tuned_rate_follows_the_schedule_it_had(name, at, first):
    untuned, optimizer = optimizer_of_two(), optimizer_of_two()
    reference = used_rates(untuned, STEPS, scheduler=SCHEDULERS[name](untuned))
    scheduler = SCHEDULERS[name](optimizer)
    factors = torch.tensor([3.0, 0.25], dtype=torch.float64)
    tuner = hidlr.HiDLR(optimizer, scheduler=scheduler, engine=Multiply(factors.tolist(), at=at))
    used = used_rates(optimizer, STEPS, tuner=tuner, scheduler=scheduler, first=first)
    changes = torch.tensor([sum(step < now for step in at) for now in range(STEPS)])
    torch.testing.assert_close(used, reference * factors ** changes[:, None], rtol=1e-9, atol=1e-18)
    # A probe at step t placed that step, too.
    for record in tuner.history:
        before = reference[record.step] * factors ** changes[record.step]
        expected = {name: float(rate) for name, rate in zip("ab", before * factors, strict=True)}
        assert record.rates == pytest.approx(expected, rel=1e-9)
        # The factor is the untuned rate over the peak that its scheduler remembers.
        group = untuned.param_groups[0]
        peak = group.get("max_lr", group.get("initial_lr"))
        wanted = 1.0 if peak is None else float(reference[record.step][0]) / peak
        assert record.factor == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_what_the_scheduler_reports_is_what_is_used(name):
    optimizer = optimizer_of_two()
    scheduler = SCHEDULERS[name](optimizer)
    tuner = hidlr.HiDLR(optimizer, scheduler=scheduler, engine=Multiply([3.0, 0.25], at={2, 6}))
    for step in range(STEPS):
        used_rates(optimizer, 1, tuner=tuner, scheduler=scheduler, first="scheduler")
        rates = [group["lr"] for group in optimizer.param_groups]
        assert scheduler.get_last_lr() == pytest.approx(rates, rel=1e-12), step
        assert list(tuner.rates.values()) == pytest.approx(rates, rel=1e-15)


def test_lists_that_the_user_holds_are_not_written():
    optimizer = optimizer_of_two()
    low, high = [0.01, 0.02], [0.1, 0.3]
    scheduler = lrs.CyclicLR(optimizer, low, high, step_size_up=3)
    tuner = hidlr.HiDLR(optimizer, scheduler=scheduler, engine=Multiply([3.0, 0.25]))
    used_rates(optimizer, 2, tuner=tuner, scheduler=scheduler)
    assert (low, high) == ([0.01, 0.02], [0.1, 0.3])


@pytest.mark.parametrize("at", [(0,), (0, 3)], ids=str)
def test_a_warm_up_from_zero_survives(at):
    def warm_up(optimizer):
        return lrs.LambdaLR(optimizer, lambda t: min(t / 5, 1.0))

    untuned, optimizer = optimizer_of_two(), optimizer_of_two()
    reference = used_rates(untuned, STEPS, scheduler=warm_up(untuned))
    assert reference[0].tolist() == [0.0, 0.0]
    scheduler = warm_up(optimizer)
    tuner = hidlr.HiDLR(optimizer, scheduler=scheduler, engine=Multiply([3.0, 0.25], at=at))
    used = used_rates(optimizer, STEPS, tuner=tuner, scheduler=scheduler)
    # At step 0 nothing moved, so there is nothing to multiply.
    factor = torch.ones(STEPS, 2, dtype=torch.float64)
    if 3 in at:
        factor[4:] = torch.tensor([3.0, 0.25])
    torch.testing.assert_close(used, reference * factor, rtol=1e-12, atol=0)


def test_the_default_engine_survives_a_warm_up_from_zero():
    optimizer = optimizer_of_two()
    scheduler = lrs.LambdaLR(optimizer, lambda t: min(t / 5, 1.0))
    tuner = hidlr.HiDLR(optimizer, scheduler=scheduler)
    parameters = [group["params"][0] for group in optimizer.param_groups]
    for _ in range(10):
        optimizer.zero_grad()
        loss = sum(((p - 3) ** 2).sum() for p in parameters)
        loss.backward()
        optimizer.step()
        tuner.step(lambda: sum(((p - 3) ** 2).sum() for p in parameters))
        scheduler.step()
    assert all(math.isfinite(rate) and rate > 0 for rate in tuner.rates.values())
    assert all(torch.isfinite(p).all() for p in parameters)


def test_a_wrapped_scheduler_is_opened():
    optimizer = optimizer_of_two()
    inner = lrs.LambdaLR(optimizer, lambda t: 1.0)
    Composed(SimpleNamespace(scheduler=inner), optimizer).scale(1, optimizer.param_groups[1], 3.0)
    assert inner.base_lrs == pytest.approx([0.1, 0.06], rel=1e-15)


def test_not_a_scheduler():
    with pytest.raises(InputTypeError, match=r"scheduler=str: pass a torch.optim.lr_scheduler, or use schedule="):
        hidlr.HiDLR(optimizer_of_two(), scheduler="cosine")


@pytest.mark.parametrize("build", [lambda o: lrs.StepLR(o, 2), warmed_cosine], ids=["plain", "nested"])
def test_a_scheduler_of_another_optimizer(build):
    with pytest.raises(InputError, match="drives another optimizer"):
        hidlr.HiDLR(optimizer_of_two(), scheduler=build(optimizer_of_two()))


def test_a_rate_changed_by_other_code_is_adopted_with_one_warning():
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=Multiply([1.0, 1.0]))
    used_rates(optimizer, 5, tuner=tuner)
    optimizer.param_groups[0]["lr"] = 0.4
    with pytest.warns(HidlrWarning, match=r"group 'a': lr was changed to 0.4.*scheduler=scheduler") as caught:
        used = used_rates(optimizer, 2, tuner=tuner)
    assert len(caught) == 1
    # 0.4 at factor 0.5 is a tuned rate of 0.8; the next factor is 0.4.
    torch.testing.assert_close(used[:, 0], torch.tensor([0.4, 0.32], dtype=torch.float64), rtol=1e-12, atol=0)
    optimizer.param_groups[1]["lr"] = 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used_rates(optimizer, 1, tuner=tuner)


def test_a_rate_set_before_the_first_step_is_simply_the_start():
    optimizer = optimizer_of_two()
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=Multiply([1.0, 1.0]))
    optimizer.param_groups[0]["lr"] = 0.4
    used = used_rates(optimizer, 2, tuner=tuner)
    torch.testing.assert_close(used[:, 0], torch.tensor([0.4, 0.36], dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("lr", [0.5, torch.tensor(0.5), torch.tensor([0.5], dtype=torch.float64)])
def test_rates_are_read_and_written_as_what_they_are(lr):
    group = {"lr": lr}
    assert read_rate(group) == 0.5
    write_rate(group, 0.25)
    assert read_rate(group) == 0.25
    assert type(group["lr"]) is type(lr)
    if isinstance(lr, torch.Tensor):
        assert group["lr"] is lr


def test_the_largest_factor_still_to_come():
    assert [Horizon("linear", 4).ahead(step) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert Horizon("linear", None).ahead(7) == 1.0
    # Up to 1 at half of the run, and down again.
    tent = Horizon(lambda progress: 1 - abs(2 * progress - 1), 64)
    assert [tent.ahead(step) for step in (0, 16, 32, 48)] == pytest.approx([1.0, 1.0, 1.0, 0.5], abs=0.04)
