"""The controller: when it acts, what it does when it cannot, and what it saves."""

import copy
import errno
import json
import math
import pathlib
import warnings

import pytest
import torch
from torch import nn

import hidlr
from hidlr.engines import AxisEstimator, Calibrated, Fixed, Paper
from hidlr.errors import HidlrWarning, InputError, InputTypeError, StateError
from support.engines import Multiply
from support.models import mlp
from support.quadratic import Quadratic, quadratic
from support.traces import RandomStates, Trace, assert_equal

pytestmark = pytest.mark.usefixtures("float64")


def sgd_on(task, rate=0.1, **options):
    return torch.optim.SGD(task.param_groups(rate), **options)


def base_step(task, optimizer):
    task.backward()
    optimizer.step()


# -- when it acts -------------------------------------------------------------------------------


def test_before_any_step_there_is_nothing_to_do():
    task = mlp()
    tuner = hidlr.HiDLR(sgd_on(task))
    trace = Trace(task.model, tuner._optimizer)
    assert tuner.step(task.closure) is None
    trace.assert_same()
    assert tuner.due


def test_a_second_call_does_nothing():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=Multiply([2.0, 3.0, 4.0]))
    base_step(task, optimizer)
    assert tuner.step(task.closure) is not None
    trace, rates, state = Trace(task.model, optimizer), tuner.rates, tuner.state_dict()
    assert tuner.step(task.closure) is None
    trace.assert_same()
    assert tuner.rates == rates
    assert tuner.state_dict() == state
    assert len(tuner.history) == 1


def test_steps_that_are_not_due_run_no_closure():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR.paper(optimizer, every=3)
    seen = []
    for _ in range(7):
        seen.append(tuner.due)
        base_step(task, optimizer)
        closure = task.closure if seen[-1] else lambda: pytest.fail("not due")
        assert (tuner.step(closure) is not None) == seen[-1]
    assert seen == [True, False, False, True, False, False, True]
    assert [record.step for record in tuner.history] == [0, 3, 6]


def test_steps_that_were_skipped_over_count():
    # Two base steps for one call: the record is of the second, and the horizon has moved by two.
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=Multiply([1.0] * 3))
    base_step(task, optimizer)
    start = [p.detach().clone() for p in task.model.parameters()]
    base_step(task, optimizer)
    record = tuner.step(task.closure)
    assert record.step == 1
    assert tuner.rates["first"] == pytest.approx(0.1 * 0.8, rel=1e-12)
    with torch.no_grad():
        for p, w in zip(task.model.parameters(), start, strict=True):
            p.copy_(w)
    assert record.losses[0] == pytest.approx(task.closure().item(), rel=1e-14)


def test_the_record_says_what_was_measured():
    task = mlp()
    optimizer = sgd_on(task)
    engine = Multiply([2.0, 1.0, 0.5], points=[(1.0, 0.0, -1.0)])
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=engine)
    loss = task.closure().item()
    base_step(task, optimizer)
    record = tuner.step(task.closure)
    assert tuner.history[-1] is record
    assert (record.step, record.phase, record.factor, record.note) == (0, "test", 1.0, "")
    # The base point, once more to see whether it repeats, and what the engine asked for.
    assert record.points == ((0.0,) * 3, (0.0,) * 3, (1.0, 0.0, -1.0))
    assert record.losses[:2] == pytest.approx([loss, loss], rel=1e-15)
    assert record.losses[2] == engine.losses[0][0]
    assert record.forwards == 3
    assert engine.spent == [(0, 3)]
    assert record.seconds > 0
    assert [(g.name, g.size) for g in record.groups] == [("first", 24), ("rest", 45), ("bias", 14)]
    assert [g.rate_before for g in record.groups] == [0.1] * 3
    assert record.rates == pytest.approx({"first": 0.2, "rest": 0.1, "bias": 0.05}, rel=1e-12)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, -2.0])
def test_rates_that_cannot_be_are_not_taken_from_an_engine(factor):
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([factor, 2.0, 1.0]))
    base_step(task, optimizer)
    end = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]
    record = tuner.step(task.closure)
    assert record.rates == tuner.rates == pytest.approx({"first": 0.1, "rest": 0.2, "bias": 0.1}, rel=1e-12)
    assert_equal([p.detach() for p in optimizer.param_groups[0]["params"]], end)


def test_only_the_first_probe_repeats_its_base():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0] * 3))
    forwards = []
    for _ in range(3):
        base_step(task, optimizer)
        forwards.append(tuner.step(task.closure).forwards)
    assert forwards == [2, 1, 1]


def test_the_view_holds_the_slopes_of_the_step():
    model = quadratic((2, 3))
    optimizer = torch.optim.AdamW(model.groups([0.1, 0.2]), weight_decay=0.5)
    engine = Multiply([1.0, 1.0])
    tuner = hidlr.HiDLR(optimizer, total_steps=4, engine=engine)
    for step in range(3):
        optimizer.zero_grad()
        start, loss = model.vector().detach(), model()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()  # people do this before tuner.step, too
        slope, _ = model.model(start, model.vector().detach() - start)
        tuner.step(model)
        view = engine.views[-1]
        torch.testing.assert_close(view.slopes, slope, rtol=1e-12, atol=1e-14)
        assert view.base == pytest.approx(loss.item(), rel=1e-14)
        assert (view.step, view.factor, view.names, view.sizes) == (step, 1 - step / 4, ("part0", "part1"), (2, 3))
        torch.testing.assert_close(view.tuned, torch.tensor([0.1, 0.2]), rtol=1e-12, atol=0)
        torch.testing.assert_close(view.rates, view.tuned * view.factor, rtol=1e-12, atol=0)


class SlopesAlone(Multiply):
    """Also keeps the slope of the way back, where there is one."""

    looks_back = True

    def decide(self, view, measure):
        self.backs = [*getattr(self, "backs", []), None if view.back is None else view.back.slope]
        return super().decide(view, measure)


@pytest.mark.covers("plain loop", "clip")
def test_slopes_are_of_the_loss_also_where_gradients_are_clipped():
    def views(max_norm, told):
        task = mlp()
        optimizer = sgd_on(task, rate=1.0)
        engine = SlopesAlone([1.0] * 3)
        tuner = hidlr.HiDLR(optimizer, engine=engine)
        for _ in range(2):
            task.backward()
            norm = float(nn.utils.clip_grad_norm_(task.model.parameters(), max_norm))
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * max(1.0, norm / max_norm)  # the same step as without clipping
            optimizer.step()
            tuner.step(task.closure, clipped=min(1.0, max_norm / norm) if told else 1.0)
        return engine

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HidlrWarning)  # the rates written above
        plain, clipped, untold = views(1e9, True), views(0.01, True), views(0.01, False)
    for one, other, wrong in zip(plain.views, clipped.views, untold.views, strict=True):
        torch.testing.assert_close(other.slopes, one.slopes, rtol=1e-4, atol=0)
        assert bool((wrong.slopes < 0.5 * one.slopes).all())
    assert clipped.backs[1] == pytest.approx(plain.backs[1], rel=1e-4)
    assert untold.backs[1] != pytest.approx(plain.backs[1], rel=0.5)


def test_no_closure_may_be_passed_by_position():
    # As Accelerate does: the gradients are there before the step, and with them the slope of the way back.
    task = mlp()
    optimizer = sgd_on(task)
    engine = SlopesAlone([1.0] * 3)
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    for _ in range(2):
        task.backward()
        optimizer.step(None)
        tuner.step(task.closure)
    assert math.isfinite(engine.backs[1])


@pytest.mark.parametrize("clipped", [0.0, -1.0, 1.5, float("nan")])
def test_a_clipping_factor_that_cannot_be(clipped):
    task = mlp()
    tuner = hidlr.HiDLR(sgd_on(task))
    with pytest.raises(InputError, match="max_norm / norm"):
        tuner.step(task.closure, clipped=clipped)


def scaled_backward(scaler, task, *, overflow):
    task.model.zero_grad()
    scaler.scale(task.closure()).backward()
    if overflow:
        next(task.model.parameters()).grad[0, 0] = float("inf")


@pytest.mark.covers("plain loop", "AMP")
@pytest.mark.parametrize("clipping", [False, True], ids=["", "unscaled by hand"])
@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_a_step_that_the_grad_scaler_skips(fused, clipping):
    task = mlp(torch.float32)
    optimizer = torch.optim.AdamW(task.param_groups(0.01), fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    engine = Multiply([2.0, 2.0, 2.0])
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=engine)
    scaled_backward(scaler, task, overflow=True)
    if clipping:
        scaler.unscale_(optimizer)
    before = [p.detach().clone() for p in task.model.parameters()]
    state = tuner.state_dict()
    scaler.step(optimizer)
    scaler.update()
    trace = Trace(task.model, optimizer)
    assert tuner.step(task.closure) is None
    trace.assert_same()
    assert_equal([p.detach() for p in task.model.parameters()], before)
    assert tuner.state_dict() == state
    assert tuner.due

    scaled_backward(scaler, task, overflow=False)
    gradients = torch.autograd.grad(task.closure(), list(task.model.parameters()))
    starts = [p.detach().clone() for p in task.model.parameters()]
    if clipping:
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    moves = [p.detach() - start for p, start in zip(task.model.parameters(), starts, strict=True)]
    record = tuner.step(task.closure)
    assert record.step == 0
    expected = -sum((g * d).sum() for g, d in zip(gradients, moves, strict=True))
    torch.testing.assert_close(engine.views[0].slopes.sum(), expected.double(), rtol=1e-5, atol=0)


def test_an_optimizer_that_is_given_a_closure():
    task, twin = mlp(), mlp()
    optimizer, twin_optimizer = sgd_on(task, momentum=0.9), sgd_on(twin, momentum=0.9)
    engine = Multiply([3.0, 1.0, 0.5], at={0})
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    for _ in range(2):
        optimizer.step(task.backward)  # no gradients exist before it
        tuner.step(task.closure)
    assert engine.views[0].slopes.gt(0).all()
    for group, factor in zip(twin_optimizer.param_groups, [3.0, 1.0, 0.5], strict=True):
        group["lr"] *= factor
    for _ in range(2):
        twin_optimizer.step(closure=twin.backward)
    torch.testing.assert_close(list(task.model.parameters()), list(twin.model.parameters()), rtol=1e-12, atol=1e-14)


def test_parameters_and_groups_may_be_replaced_between_steps():
    # As Accelerate and FSDP do.
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([2.0, 2.0, 2.0]))
    other = mlp()
    optimizer.param_groups = [
        {**old, "params": new["params"]}
        for old, new in zip(optimizer.param_groups, other.param_groups(0.1), strict=True)
    ]
    before = [p.detach().clone() for p in task.model.parameters()]
    base_step(other, optimizer)
    record = tuner.step(other.closure)
    assert record.rates == pytest.approx(dict.fromkeys(("first", "rest", "bias"), 0.2), rel=1e-12)
    assert_equal([p.detach() for p in task.model.parameters()], before)
    assert tuner.rates == record.rates


def test_detaching_leaves_a_plain_optimizer():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([2.0, 2.0, 2.0]))
    base_step(task, optimizer)
    tuner.step(task.closure)
    tuner.detach()
    base_step(task, optimizer)
    assert tuner.step(task.closure) is None
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2] * 3, rel=1e-12)


def test_a_period_may_be_set():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=60, every=7)
    due = []
    for step in range(60):
        if tuner.due and step >= 30:
            due.append(step)
        base_step(task, optimizer)
        tuner.step(task.closure)
    assert due == [35, 42, 49, 56]


@pytest.mark.parametrize("tuned", ["default", "paper"])
def test_names_of_groups_key_everything(tuned):
    task = mlp()
    optimizer = sgd_on(task)
    build = hidlr.HiDLR if tuned == "default" else hidlr.HiDLR.paper
    tuner = build(optimizer)
    base_step(task, optimizer)
    record = tuner.step(task.closure)
    names = ["first", "rest", "bias"]
    assert list(tuner.rates) == list(record.rates) == list(tuner.state_dict()["tuned"]) == names
    influence = tuner.influence()
    assert list(influence.sizes) == names
    assert set(influence.ppi) <= set(names)
    for name in names:
        assert name in str(tuner.summary())


# -- closures that misbehave --------------------------------------------------------------------


@pytest.mark.parametrize("engine", [None, Paper(3, every=1), Fixed(1)], ids=["default", "paper", "fixed"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_keeps_the_rates_and_says_why(engine, bad):
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=copy.deepcopy(engine))
    base_step(task, optimizer)
    trace = Trace(task.model, optimizer)
    record = tuner.step(lambda: task.closure() * bad)
    trace.assert_same()
    assert record.note == f"the loss is {bad}"
    assert not any(group.accepted for group in record.groups)
    assert record.rates == {"first": 0.1, "rest": 0.1, "bias": 0.1}


def test_three_in_a_row_warn_once():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Fixed(1))

    def probe(value):
        base_step(task, optimizer)
        return tuner.step(lambda: task.closure() * value)

    for value in (float("nan"), float("inf"), 1.0, float("nan"), float("nan")):
        probe(value)  # a warning would be an error
    with pytest.warns(HidlrWarning, match="loss was nan at three probes in a row.*rates are kept.*starting rate"):
        probe(float("nan"))
    probe(float("nan"))


def test_a_closure_with_a_generator_of_its_own_is_reported_once():
    task = mlp()
    optimizer = sgd_on(task)
    engine = Multiply([1.0] * 3)
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    generator = torch.Generator().manual_seed(1)
    drawn = []

    def closure():
        drawn.append(torch.rand((), generator=generator).item())
        return task.closure() + drawn[-1]

    base_step(task, optimizer)
    with pytest.warns(HidlrWarning, match="not repeatable.*dropout or sampling.*new batch") as caught:
        tuner.step(closure)
    assert len(caught) == 1
    assert engine.views[0].noise == pytest.approx(abs(drawn[1] - drawn[0]), rel=1e-9)
    for _ in range(2):
        base_step(task, optimizer)
        tuner.step(closure)
    # A resumed run knows of it, and does not measure it again.
    resumed = hidlr.HiDLR(optimizer, engine=engine)
    resumed.load_state_dict(tuner.state_dict())
    base_step(task, optimizer)
    assert resumed.step(closure).forwards == 1
    assert engine.views[-1].noise == engine.views[0].noise


def test_a_closure_that_draws_a_new_batch_is_reported():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0]))
    batches = iter(torch.randn(9, 4, 3))
    model(next(batches)).square().mean().backward()
    optimizer.step()
    with pytest.warns(HidlrWarning, match="a closure that draws a new batch"):
        tuner.step(lambda: model(next(batches)).square().mean())


def test_a_closure_that_changes_its_batch_is_reported():
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0]))
    x = torch.randn(4, 3)
    model(x).square().mean().backward()
    optimizer.step()
    with pytest.warns(HidlrWarning, match="not repeatable"):
        tuner.step(lambda: model(x.add_(1)).square().mean())


def test_dropout_and_global_random_numbers_are_no_trouble():
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    engine = Multiply([1.0], points=[(0.0,)])
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    x = torch.randn(5, 4)

    def closure():
        return (model(x) + torch.randn(5, 1)).square().mean()

    closure().backward()
    optimizer.step()
    tuner.step(closure)
    assert engine.losses[0] == [engine.views[0].base]


@pytest.mark.parametrize(
    ("closure", "error", "message"),
    [
        (torch.ones(()), InputTypeError, "takes a callable that computes the loss"),
        (None, InputTypeError, "not NoneType"),
        ([], InputError, "empty list of closures"),
        (lambda: 1.0, InputTypeError, r"without \.item\(\)"),
        (lambda: torch.ones(2), InputError, r"shape \(2,\)"),
    ],
)
def test_what_is_no_closure_loses_nothing(closure, error, message):
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=10)
    base_step(task, optimizer)
    trace = Trace(task.model, optimizer)
    with pytest.raises(error, match=message):
        tuner.step(closure)
    trace.assert_same()
    base_step(task, optimizer)
    assert tuner.step(task.closure).step == 1


def test_after_an_exception_the_horizon_catches_up():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=10, engine=Multiply([1.0] * 3, at={0, 1, 2}))
    base_step(task, optimizer)
    with pytest.raises(ZeroDivisionError):
        tuner.step(lambda: 1 / 0)
    assert tuner.rates["first"] == 0.1
    base_step(task, optimizer)
    tuner.step(task.closure)
    assert tuner.rates["first"] == pytest.approx(0.08, rel=1e-12)


# -- records that cannot be written -------------------------------------------------------------


def run_with_history(history, steps=3):
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([1.0] * 3), history=history)
    for _ in range(steps):
        base_step(task, optimizer)
        tuner.step(task.closure)
    return tuner


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(HidlrWarning, match="records cannot be written .*training goes on") as caught:
        tuner = run_with_history(hidlr.History(tmp_path / "file" / "history.jsonl"))
    assert len(caught) == 1
    assert [record.step for record in tuner.history] == [0, 1, 2]


def test_a_full_disk(tmp_path, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "open", lambda *args, **kwargs: Full())
    with pytest.warns(HidlrWarning, match="No space left on device.*stay in memory") as caught:
        tuner = run_with_history(hidlr.History(tmp_path / "history.jsonl"))
    assert len(caught) == 1
    assert len(tuner.history) == 3


def test_records_reach_the_file(tmp_path):
    history = hidlr.History(tmp_path / "history.jsonl")
    tuner = run_with_history(history)
    history.close()
    assert list(hidlr.History.load(tmp_path / "history.jsonl")) == list(tuner.history)


# -- state --------------------------------------------------------------------------------------


def trained(steps=4, build=hidlr.HiDLR, **options):
    task = mlp()
    optimizer = sgd_on(task, momentum=0.9)
    tuner = build(optimizer, **options)
    for _ in range(steps):
        base_step(task, optimizer)
        tuner.step(task.closure)
    return task, optimizer, tuner


@pytest.mark.parametrize("build", [hidlr.HiDLR, hidlr.HiDLR.paper])
def test_the_state_is_plain_data(build):
    _, _, tuner = trained(build=build, total_steps=20)
    state = tuner.state_dict()
    # Tensors, the parameters at the last probe, only where the engine looks back.
    trail = state.pop("trail")
    assert (trail is not None) == (build is hidlr.HiDLR)
    assert json.loads(json.dumps(state, allow_nan=False)) == state
    assert set(state["tuned"]) == {"first", "rest", "bias"}


def assert_same_state(actual, expected):
    """Equal to the bit, tensors included."""
    assert {**actual, "trail": None} == {**expected, "trail": None}
    assert (actual["trail"] is None) == (expected["trail"] is None)
    if expected["trail"] is not None:
        assert actual["trail"]["step"] == expected["trail"]["step"]
        for name, own in expected["trail"]["groups"].items():
            assert actual["trail"]["groups"][name]["positions"] == own["positions"]
            torch.testing.assert_close(actual["trail"]["groups"][name]["start"], own["start"], rtol=0, atol=0)


def test_the_state_is_a_copy():
    task, optimizer, tuner = trained(total_steps=20)
    state = tuner.state_dict()
    before = copy.deepcopy(state)
    for _ in range(6):
        base_step(task, optimizer)
        tuner.step(task.closure)
    assert_same_state(state, before)


@pytest.mark.parametrize("order", ["tuner last", "tuner first"])
def test_loading_brings_the_rates_back_in_either_order(order):
    _, optimizer, tuner = trained(total_steps=20)
    saved = optimizer.state_dict(), tuner.state_dict(), tuner.rates
    task = mlp()
    other = sgd_on(task, rate=7.0, momentum=0.9)
    fresh = hidlr.HiDLR(other, total_steps=20)
    loads = [lambda: other.load_state_dict(saved[0]), lambda: fresh.load_state_dict(saved[1])]
    for load in loads if order == "tuner last" else reversed(loads):
        load()
    assert fresh.rates == saved[2]
    assert_same_state(fresh.state_dict(), saved[1])
    base_step(task, other)
    fresh.step(task.closure)  # no word of a foreign rate


def test_the_order_of_groups_may_change_between_save_and_load():
    _, _, tuner = trained(total_steps=20)
    task = mlp()
    optimizer = torch.optim.SGD(task.param_groups(1.0)[::-1], momentum=0.9)
    fresh = hidlr.HiDLR(optimizer, total_steps=20)
    fresh.load_state_dict(tuner.state_dict())
    assert fresh.rates == tuner.rates
    assert list(fresh.rates) == ["bias", "rest", "first"]


def damage(**changes):
    def apply(state):
        for path, value in changes.items():
            *outer, last = path.split("__")
            inner = state
            for key in outer:
                inner = inner[key]
            if value is KeyError:
                del inner[last]
            else:
                inner[last] = value
        return state

    return apply


DAMAGES = {
    "not a dict": lambda state: None,
    "a list": lambda state: [1, 2],
    "empty": lambda state: {},
    "no rates": damage(tuned=KeyError),
    "rates are a list": damage(tuned=[1.0, 2.0, 3.0]),
    "a rate is text": damage(tuned__first="fast"),
    "a rate is nan": damage(tuned__first=float("nan")),
    "a rate is negative": damage(tuned__first=-1.0),
    "a rate is infinite": damage(tuned__first=float("inf")),
    "a written rate is missing": damage(written__bias=KeyError),
    "a written rate is nan": damage(written__bias=float("nan")),
    "no step": damage(taken=KeyError),
    "a negative step": damage(taken=-1),
    "step is text": damage(taken="many"),
    "no engine": damage(engine=KeyError),
    "engine is text": damage(engine="Calibrated"),
    "no engine state": damage(engine__state=None),
    "half an engine state": damage(engine__state={"turn": 0}),
    "no groups in the engine": damage(engine__state__groups={}),
    "a number is text": damage(engine__state__budget__spent="x"),
    "no repeated": damage(repeated=KeyError),
    "disagreement is text": damage(disagreement="some"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_state_is_refused_and_changes_nothing(name):
    _, _, tuner = trained(total_steps=20)
    state = DAMAGES[name](copy.deepcopy(tuner.state_dict()))
    _, optimizer, other = trained(steps=2, total_steps=20)
    before, groups = other.state_dict(), copy.deepcopy([group["lr"] for group in optimizer.param_groups])
    with pytest.raises(
        StateError, match=r"not the state of a HiDLR tuner|state is damaged|pass tuner.state_dict|version"
    ):
        other.load_state_dict(state)
    assert other.state_dict() == before
    assert [group["lr"] for group in optimizer.param_groups] == groups


def test_the_state_of_other_groups_is_refused_by_name():
    _, _, tuner = trained(total_steps=20)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD([{"params": [model.weight], "name": "first"}, {"params": [model.bias], "name": "new"}])
    other = hidlr.HiDLR(optimizer, total_steps=20)
    before = other.state_dict()
    with pytest.raises(StateError, match=r"lacks \['new'\] and has \['bias', 'rest'\] besides.*same groups"):
        other.load_state_dict(tuner.state_dict())
    assert other.state_dict() == before


def test_the_state_of_another_engine_is_refused():
    _, _, tuner = trained(total_steps=20)
    _, _, other = trained(build=hidlr.HiDLR.paper, total_steps=20)
    with pytest.raises(StateError, match="state is of engine Calibrated, this tuner runs Paper"):
        other.load_state_dict(tuner.state_dict())


def test_a_later_version_is_refused():
    _, _, tuner = trained(total_steps=20)
    with pytest.raises(StateError, match="state of version 99; this hidlr reads version 4"):
        tuner.load_state_dict({**tuner.state_dict(), "version": 99})


def test_resuming_with_a_torch_scheduler():
    def build(task):
        optimizer = sgd_on(task, momentum=0.9)
        warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=3)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [3])
        return optimizer, scheduler, hidlr.HiDLR.paper(optimizer, scheduler=scheduler, every=2)

    def run(split):
        task = mlp()
        optimizer, scheduler, tuner = build(task)
        for step in range(10):
            if step == split:
                states = copy.deepcopy([x.state_dict() for x in (task.model, optimizer, scheduler, tuner)])
                task = mlp()
                optimizer, scheduler, tuner = build(task)
                for part, state in zip((task.model, optimizer, scheduler, tuner), states, strict=True):
                    part.load_state_dict(state)
            base_step(task, optimizer)
            tuner.step(task.closure)
            scheduler.step()
        return task.model.state_dict(), optimizer.state_dict(), tuner.state_dict(), tuner.rates

    whole = run(None)
    for split in (1, 3, 6):
        assert_equal(run(split), whole)


# -- the default engine, end to end -------------------------------------------------------------


@pytest.mark.parametrize("rate", [1e-8, 1e-4, 1.0, 1e2])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_the_default_trains_from_any_starting_rate(kind, rate):
    task = mlp()
    groups = task.param_groups(rate)
    optimizer = torch.optim.SGD(groups) if kind == "sgd" else torch.optim.AdamW(groups, weight_decay=0.0)
    tuner = hidlr.HiDLR(optimizer, total_steps=60)
    first = task.closure().item()
    for _ in range(60):
        base_step(task, optimizer)
        tuner.step(task.closure)
    assert task.closure().item() < 0.6 * first


def test_the_default_stays_within_its_overhead():
    task = mlp()
    optimizer = torch.optim.AdamW(task.param_groups(1e-3))
    tuner = hidlr.HiDLR(optimizer, total_steps=600, overhead=0.1)
    for _ in range(600):
        base_step(task, optimizer)
        tuner.step(task.closure)
    # A training step is worth three forward passes.
    share = sum(record.forwards for record in tuner.history) / (3 * 600)
    assert 0.07 < share < 0.13


def test_the_random_state_of_training_is_untouched():
    task = mlp()
    optimizer = sgd_on(task)
    tuner = hidlr.HiDLR(optimizer, total_steps=40)
    before = RandomStates.take()
    for _ in range(40):
        base_step(task, optimizer)
        tuner.step(task.closure)
    before.assert_same()


def test_every_estimator_serves_the_paper_rule():
    model = Quadratic(torch.diag(torch.tensor([1.0, 4.0])), torch.zeros(2), [1, 1], torch.ones(2))
    for estimator in (None, AxisEstimator(), hidlr.engines.FullEstimator()):
        copied = copy.deepcopy(model)
        optimizer = torch.optim.SGD(copied.groups(0.5))
        tuner = hidlr.HiDLR.paper(optimizer, every=1, estimator=estimator, smoothing=0.0, clip=10.0)
        copied().backward()
        optimizer.step()
        tuner.step(copied)
        # Each part's best rate is one over its curvature, and one such step ends at the minimum.
        assert tuner.rates == pytest.approx({"part0": 1.0, "part1": 0.25}, rel=1e-9)
        torch.testing.assert_close(copied.vector().detach(), torch.zeros(2), rtol=0, atol=1e-9)


def test_the_default_engine_is_the_calibrated_one():
    _, _, tuner = trained(steps=1)
    assert tuner.state_dict()["engine"]["kind"] == Calibrated.__name__


def beyond_the_horizon(tmp_path):
    task, optimizer, _ = trained(steps=1, total_steps=1)
    task.backward()
    optimizer.step()


def foreign_rate(tmp_path):
    task, optimizer, _ = trained(steps=1)
    optimizer.param_groups[0]["lr"] = 3.0
    task.backward()
    optimizer.step()


def random_closure(tmp_path):
    task, optimizer, tuner = trained(steps=0)
    base_step(task, optimizer)
    generator = torch.Generator()
    tuner.step(lambda: task.closure() + torch.rand((), generator=generator))


def three_nans(tmp_path):
    task, optimizer, tuner = trained(steps=0)
    for _ in range(3):
        base_step(task, optimizer)
        tuner.step(lambda: task.closure() * float("nan"))


def unwritable_history(tmp_path):
    (tmp_path / "file").write_text("")
    task, optimizer, tuner = trained(steps=0, history=hidlr.History(tmp_path / "file" / "history.jsonl"))
    base_step(task, optimizer)
    tuner.step(task.closure)


def unnamed_groups(tmp_path):
    hidlr.HiDLR(torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))]} for _ in range(2)], lr=0.1))


@pytest.mark.parametrize(
    "cause", [beyond_the_horizon, foreign_rate, random_closure, three_nans, unwritable_history, unnamed_groups]
)
def test_warnings_point_at_the_line_that_caused_them(cause, tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cause(tmp_path)
    code = cause.__code__
    lines = range(code.co_firstlineno, max(line for _, _, line in code.co_lines() if line) + 1)
    assert [(w.category, w.filename, w.lineno in lines) for w in caught] == [(HidlrWarning, __file__, True)]
