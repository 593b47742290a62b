"""Autocast, GradScaler and low-precision parameters: the same slopes, and rates of the same size, as in float32."""

import contextlib
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hidlr
from hidlr.errors import HidlrWarning
from support.engines import Multiply
from support.traces import assert_equal

KINDS = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(12, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 4))


def batches(steps):
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        x = torch.randn(128, 12, generator=generator)
        yield x, (x[:, 0] > 0).long() + 2 * (x[:, 1] * x[:, 2] > 0).long()


def train(steps=60, *, dtype=torch.float32, cast=None, scaler=None, kind="adamw", rate=1e-3, fused=False, model=None):
    """The tuner, the losses, and the steps that gave a record."""
    model = (network() if model is None else model).to(dtype)
    optimizer = KINDS[kind](hidlr.param_groups(model, by="role"), lr=rate, fused=fused)
    tuner = hidlr.HiDLR(optimizer, total_steps=steps, overhead=1.0)
    losses = []
    for x, y in batches(steps):

        def closure(x=x, y=y):
            context = torch.autocast("cpu", cast) if cast else contextlib.nullcontext()
            with context:
                return F.cross_entropy(model(x.to(dtype)).float(), y)

        loss = closure()
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        tuner.step(closure)
        optimizer.zero_grad()
        losses.append(loss.item())
    return tuner, losses, [p.detach().clone() for p in model.parameters()]


def close(one, other, factor):
    """Share of the common groups and probes on which the rates lie within a factor of each other."""
    by_step = {record.step: record for record in other.history}
    apart = [
        abs(math.log(mine.rate_after / its.rate_after))
        for record in one.history
        if record.step in by_step
        for mine, its in zip(record.groups, by_step[record.step].groups, strict=True)
    ]
    assert len(apart) > 20
    return sum(distance <= math.log(factor) for distance in apart) / len(apart)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fused", [False, True])
def test_a_grad_scaler_changes_nothing(kind, fused):
    # Without autocast, scaling by powers of two is exact: the run must be the same to the last bit. Fused optimizers
    # find the gradients still scaled.
    plain = train(30, kind=kind, rate=1e-3, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12, growth_interval=7)
    scaled = train(30, kind=kind, rate=1e-3, fused=fused, scaler=scaler)
    assert scaler.get_scale() > 2.0**12
    assert_equal(scaled[1:], plain[1:])
    assert [r.to_json().split('"seconds"')[0] for r in scaled[0].history] == [
        r.to_json().split('"seconds"')[0] for r in plain[0].history
    ]


def test_float16_with_a_grad_scaler_that_overflows_first():
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=1000)
    tuner, losses, _ = train(80, cast=torch.float16, scaler=scaler)
    assert scaler.get_scale() < 2.0**40
    assert tuner.history[0].step == 0  # the first step that was taken, whatever was skipped before
    assert losses[-1] < 0.7 * losses[0]
    assert tuner.state_dict()["taken"] < 80


@pytest.mark.parametrize("cast", [torch.bfloat16, torch.float16])
def test_autocast_chooses_rates_as_float32_does(cast):
    reference, losses, _ = train()
    tuner, found, _ = train(cast=cast)
    assert close(tuner, reference, 1.25) > 0.5
    assert close(tuner, reference, 2.0) > 0.9
    assert found[-1] < losses[0] * 0.7


def test_bfloat16_parameters_train():
    reference, losses, _ = train()
    tuner, found, values = train(dtype=torch.bfloat16)
    assert all(value.dtype == torch.bfloat16 for value in values)
    # What moves is rounded to 8 bits, so that the steps are others than in float32.
    assert close(tuner, reference, 4.0) > 0.8
    assert found[-1] < losses[0] * 0.7


def test_points_of_whole_steps_are_exact_in_bfloat16():
    # A step's move is a multiple of the last bit, so that whole multiples of it survive rounding.
    from hidlr.displacement import Displacement

    parameter = nn.Parameter(torch.rand(500).add(1.0).bfloat16())  # in [1, 2)
    start = parameter.detach().double()
    displacement = Displacement([[parameter]])
    with torch.no_grad():
        parameter += (0.02 * torch.randn(500)).bfloat16()
    move = parameter.detach().double() - start
    displacement.finish()
    for xi in (2.0, 3.0, 5.0):
        displacement.place([xi])
        goal = start + xi * move
        inside = (goal >= 1) & (goal < 2)  # beyond, the last bit is worth twice as much
        assert int(inside.sum()) > 300
        torch.testing.assert_close(parameter.detach().double()[inside], goal[inside], rtol=0, atol=0)


def test_a_loss_of_three_digits_is_reported():
    torch.manual_seed(0)
    model = nn.Linear(4, 2).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0]))
    x, y = torch.randn(8, 4).bfloat16(), torch.randint(2, (8,))
    for step in range(2):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with (
            pytest.warns(HidlrWarning, match=r"loss is bfloat16.*\.float\(\)")
            if step == 0
            else contextlib.nullcontext()
        ):
            tuner.step(lambda: F.cross_entropy(model(x), y))


def test_the_slope_of_the_way_back_is_that_of_unscaled_gradients():
    """By itself, with the fused kernel: the gradients are scaled until the step has begun."""

    class Looking(Multiply):
        looks_back = True

        def decide(self, view, measure):
            self.backs = [*getattr(self, "backs", []), view.back and view.back.slope]
            return super().decide(view, measure)

    found = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0)):
        model = copy.deepcopy(network())
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
        engine = Looking([1.0])
        tuner = hidlr.HiDLR(optimizer, engine=engine)
        for x, y in batches(3):
            loss = F.cross_entropy(model(x), y)
            (loss if scaler is None else scaler.scale(loss)).backward()
            if scaler is None:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            tuner.step(lambda model=model, x=x, y=y: F.cross_entropy(model(x), y))
            optimizer.zero_grad()
        found.append(engine.backs[1:])
    assert found[0] == found[1]
