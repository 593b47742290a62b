"""Every supported base optimizer, one row each (`support/optimizers.py`), against autograd and an untuned twin."""

import copy
import io

import pytest
import torch
from torch import nn

import hidlr
from hidlr.displacement import Displacement
from hidlr.engines import AxisEstimator, Fixed
from hidlr.probe import Probe
from support.engines import Multiply, view
from support.models import TASKS, mlp
from support.optimizers import EACH_ROW, EACH_VARIANT, ROWS
from support.traces import assert_equal, optimizer_state

FACTORS = (2.0, 0.3, 1.0, 5.0, 0.01)
# NAdam keeps a scalar in the default dtype, which load_state_dict casts to the parameters'.
pytestmark = pytest.mark.usefixtures("float64")


def train(task, optimizer, steps):
    for _ in range(steps):
        task.backward()
        optimizer.step()


def twins(row, variant, *, steps=3):
    """Two identical tasks and optimizers in the middle of training, with gradients at hand."""
    task = mlp()
    optimizer = row.build(row.groups(task), **variant)
    train(task, optimizer, steps)
    task.backward()
    other = mlp()
    other.model.load_state_dict(task.model.state_dict())
    other_optimizer = row.build(row.groups(other), **variant)
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other.backward()
    return (task, optimizer), (other, other_optimizer)


def values(task):
    return [p.detach().clone() for p in task.model.parameters()]


# -- slope and curvature ------------------------------------------------------------------------


def derivatives(task, groups, starts, moves):
    """-G_k . d_k and d_k . H_kk d_k per group, by two backward passes at the start of the step."""
    flat = [p for group in groups for p in group]
    ends = [p.detach().clone() for p in flat]
    with torch.no_grad():
        for p, start in zip(flat, starts, strict=True):
            p.copy_(start)
    gradients = torch.autograd.grad(task.closure(), flat, create_graph=True)
    slopes, curvatures, first = [], [], 0
    for group in groups:
        part = slice(first, first + len(group))
        along = sum((g * d).sum() for g, d in zip(gradients[part], moves[part], strict=True))
        second = torch.autograd.grad(along, group, retain_graph=True)
        slopes.append(-along.item())
        curvatures.append(sum((h * d).sum() for h, d in zip(second, moves[part], strict=True)).item())
        first += len(group)
    with torch.no_grad():
        for p, end in zip(flat, ends, strict=True):
            p.copy_(end)
    return torch.tensor(slopes, dtype=torch.float64), torch.tensor(curvatures, dtype=torch.float64)


@pytest.mark.parametrize("name", TASKS)
@EACH_ROW
def test_slope_and_curvature_agree_with_autograd(row, name):
    task = TASKS[name]()
    optimizer = row.build(row.groups(task))
    train(task, optimizer, 3)
    groups = [group["params"] for group in optimizer.param_groups]
    flat = [p for group in groups for p in group]
    task.backward()
    displacement = Displacement(groups, keep_gradients=True)
    starts = [p.detach().clone() for p in flat]
    optimizer.step()
    assert displacement.gradients_written == row.edits_gradients
    moves = [p.detach() - start for p, start in zip(flat, starts, strict=True)]
    in_hand = torch.tensor(displacement.slopes(), dtype=torch.float64)
    slopes, curvatures = derivatives(task, groups, starts, moves)
    torch.testing.assert_close(in_hand, slopes, rtol=1e-9, atol=1e-14)

    # By losses alone: central differences at h and h / 2, whose h^2 errors cancel in (4 A(h/2) - A(h)) / 3.
    length = sum((move**2).sum() for move in moves).sqrt().item()
    with Probe(displacement, task.closure, flat) as probe:
        (base,) = probe.measure([(0.0,) * len(groups)])
        seen = view(rates=[1.0] * len(groups), base=base)
        coarse, fine = (AxisEstimator(size / length).estimate(seen, probe.measure) for size in (0.03, 0.015))
    # Groups differ by orders of magnitude: what is lost against the largest is rounding of the loss.
    noise = 1e-15 / (0.015 / length) ** 2
    torch.testing.assert_close((4 * fine.slope - coarse.slope) / 3, slopes, rtol=1e-5, atol=1e-13 / (0.015 / length))
    torch.testing.assert_close(
        ((4 * fine.curvature - coarse.curvature) / 3).diagonal(), curvatures, rtol=1e-5, atol=20 * noise
    )


@EACH_VARIANT
def test_a_tuner_sees_the_slopes_of_the_loss_whatever_the_step_does_to_the_gradients(row, variant):
    task = mlp()
    optimizer = row.build(row.groups(task), **variant)
    engine = Multiply([1.0] * len(optimizer.param_groups))
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    for step in range(4):
        groups = [group["params"] for group in optimizer.param_groups]
        flat = [p for group in groups for p in group]
        starts = [p.detach().clone() for p in flat]
        task.backward()
        optimizer.step()
        moves = [p.detach() - start for p, start in zip(flat, starts, strict=True)]
        slopes, _ = derivatives(task, groups, starts, moves)
        tuner.step(task.closure)
        found = engine.views[step].slopes
        if step == 0 and not bool(found.isfinite().any()):
            continue  # nothing moved, or the gradients were written to for the first time
        torch.testing.assert_close(found, slopes, rtol=1e-9, atol=1e-14)


# -- the step -----------------------------------------------------------------------------------


@EACH_VARIANT
def test_the_step_is_what_the_base_optimizer_would_have_done_at_the_new_rates(row, variant):
    (task, optimizer), (twin, twin_optimizer) = twins(row, variant)
    count = len(optimizer.param_groups)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply(FACTORS[:count], points=[(1.0,) * count, (-2.0,) * count]))
    optimizer.step()
    record = tuner.step(task.closure)
    for group, factor in zip(twin_optimizer.param_groups, FACTORS, strict=False):
        group["lr"] = group["lr"] * factor
    twin_optimizer.step()
    torch.testing.assert_close(values(task), values(twin), rtol=1e-13, atol=1e-14)
    assert tuner.rates == pytest.approx({g["name"]: g["lr"] for g in twin_optimizer.param_groups}, rel=1e-14)
    assert record.rates == tuner.rates
    # And the state has advanced once, as the twin's did: it does not depend on the rate.
    assert_equal(optimizer_state(optimizer), optimizer_state(twin_optimizer))


@EACH_VARIANT
def test_every_later_step_goes_on_from_there(row, variant):
    (task, optimizer), (twin, twin_optimizer) = twins(row, variant)
    count = len(optimizer.param_groups)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply(FACTORS[:count], at={0}))
    for group, factor in zip(twin_optimizer.param_groups, FACTORS, strict=False):
        group["lr"] = group["lr"] * factor
    for _ in range(3):
        task.backward()
        optimizer.step()
        tuner.step(task.closure)
        twin.backward()
        twin_optimizer.step()
    # Muon rounds its directions to bfloat16, which a last-bit difference of a gradient can flip.
    tolerance = {"rtol": 0, "atol": 1e-3} if row.matrices_only else {"rtol": 1e-9, "atol": 1e-11}
    torch.testing.assert_close(values(task), values(twin), **tolerance)


@EACH_VARIANT
def test_fixed_rates_change_nothing_at_all(row, variant):
    (task, optimizer), (twin, twin_optimizer) = twins(row, variant, steps=0)
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=Fixed(every=1))
    for _ in range(4):
        task.backward()
        optimizer.step()
        tuner.step(task.closure)
        twin.backward()
        twin_optimizer.step()
    assert_equal(values(task), values(twin))
    assert_equal(optimizer.state_dict(), twin_optimizer.state_dict())
    assert len(tuner.history) == 4


# -- checkpoints --------------------------------------------------------------------------------


def resumed(row, variant, build, split):
    """What a run of 14 steps ends with, saved and loaded before step ``split``."""
    task = mlp()
    optimizer = row.build(row.groups(task), **variant)
    tuner = build(optimizer)
    records = []
    for step in range(14):
        if step == split:
            file = io.BytesIO()
            torch.save(
                {"model": task.model.state_dict(), "optimizer": optimizer.state_dict(), "tuner": tuner.state_dict()},
                file,
            )
            file.seek(0)
            state = torch.load(file, weights_only=True)
            task = mlp()
            task.model.load_state_dict(state["model"])
            optimizer = row.build(row.groups(task), **variant)
            tuner = build(optimizer)
            optimizer.load_state_dict(state["optimizer"])
            tuner.load_state_dict(state["tuner"])
        task.backward()
        optimizer.step()
        record = tuner.step(task.closure)
        records += [(record.step, record.rates, record.points, record.losses)] if record else []
    return values(task), optimizer.state_dict(), tuner.rates, tuner.state_dict(), records


@pytest.mark.covers("plain loop", "resume")
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda optimizer: hidlr.HiDLR(optimizer, total_steps=40, overhead=1.0), id="default"),
        pytest.param(lambda optimizer: hidlr.HiDLR.paper(optimizer, every=2, total_steps=40), id="paper"),
    ],
)
@EACH_VARIANT
def test_resuming_is_bit_exact(row, variant, build):
    whole = resumed(row, variant, build, split=None)
    assert len(whole[-1]) >= 7
    assert_equal(resumed(row, variant, build, split=5), whole)


# -- how people train ---------------------------------------------------------------------------


@pytest.mark.covers("plain loop", "accumulate")
@EACH_ROW
def test_accumulation_with_one_closure_per_micro_batch(row):
    task = mlp()
    optimizer = row.build(row.groups(task))
    train(task, optimizer, 1)  # the first step of some (SOAP, ADOPT) moves nothing
    optimizer.zero_grad()
    count = len(optimizer.param_groups)
    engine = Multiply([1.0] * count, points=[(0.0,) * count, (1.0,) * count])
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    whole = task.closure().item()
    for half in task.halves:
        half().backward()
        assert tuner.step(task.halves) is None  # nothing was stepped yet
    optimizer.step()
    record = tuner.step(task.halves)
    # Before the step the loss is what it was; after it, what the model gives now.
    assert record.losses[0] == engine.views[0].base == pytest.approx(whole, rel=1e-14)
    assert engine.losses[0] == pytest.approx([whole, task.closure().item()], rel=1e-14)
    assert record.forwards == 2 * len(record.points)
    # Of gradients that were written to, the first probe knows nothing yet.
    assert bool(engine.views[0].slopes.isfinite().all()) != row.edits_gradients


@EACH_ROW
def test_a_group_at_rate_zero_is_left_alone(row):
    task = mlp()
    optimizer = row.build(row.groups(task))
    optimizer.param_groups[1]["lr"] = 0.0
    still = [p.detach().clone() for p in optimizer.param_groups[1]["params"]]
    tuner = hidlr.HiDLR(optimizer, total_steps=40)
    for _ in range(12):
        task.backward()
        optimizer.step()
        tuner.step(task.closure)
    assert len(tuner.history) >= 2
    assert all(record.groups[1].rate_after == 0.0 for record in tuner.history)
    assert not any(record.groups[1].accepted for record in tuner.history)
    assert_equal([p.detach() for p in optimizer.param_groups[1]["params"]], still)
    assert optimizer.param_groups[1]["lr"] == 0.0
    assert tuner.history[-1].groups[0].rate_after != row.rate


@pytest.mark.covers("plain loop", "freeze")
@EACH_ROW
def test_a_frozen_group_and_a_parameter_without_gradient(row):
    task = mlp()
    extra = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    groups = row.groups(task)
    groups[0]["params"].append(extra)  # in the optimizer, not in the loss
    for p in groups[1]["params"]:
        p.requires_grad_(False)
    before = values(task)
    optimizer = row.build(groups)
    tuner = hidlr.HiDLR(optimizer, total_steps=40)
    for _ in range(3):
        task.backward()
        optimizer.step()
        tuner.step(task.closure)
    record = tuner.history[-1]
    assert_equal(extra.detach(), torch.ones(2, 2, dtype=torch.float64))
    frozen = {id(p) for p in groups[1]["params"]}
    for p, start in zip(task.model.parameters(), before, strict=True):
        if id(p) in frozen:
            assert_equal(p.detach(), start)
    assert record.groups[1].size == 0
    # Its rate may follow the common scale, for when it is thawed.
    assert 0 < tuner.rates[groups[1]["name"]] < float("inf")
    assert not record.groups[1].accepted


@EACH_ROW
def test_all_frozen_is_idle(row):
    task = mlp()
    optimizer = row.build(row.groups(task))
    task.model.requires_grad_(False)
    tuner = hidlr.HiDLR(optimizer)
    before = values(task)
    optimizer.step()
    record = tuner.step(task.closure)
    assert record.note
    assert tuner.rates == {group["name"]: row.rate for group in optimizer.param_groups}
    assert_equal(values(task), before)


# -- precisions and tensor rates ----------------------------------------------------------------


@EACH_VARIANT
def test_mixed_float32_and_bfloat16_parameters(row, variant):
    task = mlp(torch.float32)
    model = task.model
    model[2].to(torch.bfloat16)
    x, y = torch.randn(12, 4, dtype=torch.float32), torch.randint(3, (12,))

    def closure():
        hidden = model[1](model[0](x)).bfloat16()
        return nn.functional.cross_entropy(model[4](model[3](model[2](hidden)).float()), y)

    optimizer = row.build(row.groups(task), **variant)
    tuner = hidlr.HiDLR(optimizer, total_steps=6)
    kinds = [p.dtype for p in model.parameters()]
    for _ in range(4):
        optimizer.zero_grad()
        closure().backward()
        optimizer.step()
        tuner.step(closure)
    assert [p.dtype for p in model.parameters()] == kinds
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert all(0 < rate < 1e6 for rate in tuner.rates.values())


TENSOR_RATES = {
    "adam": lambda groups, lr: torch.optim.Adam(groups, lr=lr),
    "adamw one by one": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, foreach=False),
    "adamw fused": lambda groups, lr: torch.optim.AdamW(groups, lr=lr, fused=True),
    "sgd": lambda groups, lr: torch.optim.SGD(groups, lr=lr),
}


@pytest.mark.parametrize("name", TENSOR_RATES)
def test_a_rate_kept_in_a_tensor_is_written_in_place(name):
    task = mlp()
    groups = [{k: v for k, v in group.items() if k != "lr"} for group in task.param_groups(0.01)]
    optimizer = TENSOR_RATES[name](groups, torch.tensor(0.01, dtype=torch.float64))
    tuner = hidlr.HiDLR(optimizer, total_steps=4, engine=Multiply([2.0, 0.5, 1.0], at={1}))
    tensors = [group["lr"] for group in optimizer.param_groups]
    for _ in range(2):
        task.backward()
        optimizer.step()
        tuner.step(task.closure)
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, tensors, strict=True))
    # Tuned once, at factor 1/2 now; one tensor was given for all groups, yet each has its own rate.
    assert [float(tensor) for tensor in tensors] == pytest.approx([0.01, 0.0025, 0.005], rel=1e-12)


def test_a_row_for_each_optimizer_that_the_issue_names():
    named = [
        "sgd",
        "momentum",
        "nesterov",
        "adam",
        "adamw",
        "adagrad",
        "rmsprop",
        "adamax",
        "nadam",
        "radam",
        "lion",
        "muon",
    ]
    assert {row.name for row in ROWS} >= set(named)
