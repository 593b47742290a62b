"""The move since the last probe, measured on the present batch: against the quadratic it is made on."""

import copy

import pytest
import torch
from torch import nn

import hidlr
from hidlr.displacement import Displacement, Trail
from hidlr.engines import Decision
from hidlr.engines.calibrated import _way
from support.engines import Multiply
from support.quadratic import quadratic

pytestmark = pytest.mark.usefixtures("float64")


class Looking(Multiply):
    """Keeps every rate, and notes what it sees behind it."""

    def __init__(self, groups, at):
        super().__init__([1.0] * groups, at)
        self.seen = []

    @property
    def looks_back(self):
        return 1.0

    def decide(self, view, measure):
        if view.back is not None:
            losses = [view.back.measure(xi) for xi in (0.0, 0.5, 1.0)]
            self.seen.append((view.base, view.back.slope, losses))
        return Decision(view.rates, "test")


def trained(engine, steps, *, clip=None):
    """Steps on one quadratic; the parameters at the start of each."""
    model = quadratic((3, 2))
    optimizer = torch.optim.SGD(model.groups(0.01), momentum=0.9)
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=engine)
    starts = []
    for _ in range(steps):
        optimizer.zero_grad()
        starts.append(model.vector().detach().clone())
        model().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        after = model.vector().detach().clone()
        tuner.step(model)
        assert torch.equal(model.vector().detach(), after)
    return model, starts


def test_it_is_the_way_from_the_last_probed_step_to_this_one():
    engine = Looking(2, at={1, 4})
    model, starts = trained(engine, 6)
    ((base, slope, losses),) = engine.seen
    then, now = starts[1], starts[4]
    b, a = (float(value.sum()) for value in model.model(then, now - then))
    at_the_end = float(model.model(now, now - then)[0].sum())
    torch.testing.assert_close(slope, at_the_end, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(losses[2], base, rtol=0, atol=1e-12)
    torch.testing.assert_close(losses[0] - losses[2], b - a / 2, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(losses[0] - losses[1], b / 2 - a / 8, rtol=1e-9, atol=1e-12)


def test_a_weight_below_one_looks_back_at_a_trailing_average():
    class Averaging(Looking):
        looks_back = 0.25

    engine = Averaging(2, at={0, 2, 3, 5})
    model, starts = trained(engine, 6)
    trail = starts[0]
    for (base, slope, losses), step, next_step in zip(engine.seen, (2, 3, 5), (3, 5, None), strict=True):
        now = starts[step]
        b, a = (float(value.sum()) for value in model.model(trail, now - trail))
        torch.testing.assert_close(losses[0] - base, b - a / 2, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(slope, b - a, rtol=1e-9, atol=1e-12)
        if next_step is not None:
            trail = trail.lerp(now, 0.25)


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_slope_and_curvature_of_the_way(clip):
    # Clipped gradients make the slope at the end too small by an unknown factor: a loss half way stands in.
    class Fitting(Looking):
        def decide(self, view, measure):
            if view.back is not None:
                self.seen.append(
                    _way(view.back, view.base, view.back.measure(0.0) - view.base, trust_slope=clip is None)
                )
            return Decision(view.rates, "test")

    engine = Fitting(2, at={0, 3})
    model, starts = trained(engine, 4, clip=clip)
    b, a = (float(value.sum()) for value in model.model(starts[0], starts[3] - starts[0]))
    # A clipped way is so short that losses along it are near their rounding.
    torch.testing.assert_close(
        torch.tensor(engine.seen[0]), torch.tensor((b, a)), rtol=1e-3 if clip else 1e-9, atol=1e-9
    )


def test_the_first_probe_and_an_engine_that_does_not_look_back_see_nothing():
    engine = Looking(2, at={2})
    trained(engine, 4)
    assert engine.seen == []
    plain = Multiply([1.0, 1.0], at={0, 2})
    trained(plain, 4)
    assert [view.back for view in plain.views] == [None, None]


def test_parameters_that_move_in_turn_leave_nothing_to_look_back_at():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [a, b], "name": "both"}], lr=0.1)
    engine = Looking(1, at={0, 1, 2})
    tuner = hidlr.HiDLR(optimizer, engine=engine)
    for step in range(3):
        moved = a if step % 2 == 0 else b
        optimizer.zero_grad()
        (moved**2).sum().backward()
        optimizer.step()
        tuner.step(lambda: (a**2).sum() + (b**2).sum())
    assert engine.seen == []


def test_an_optimizer_closure_leaves_the_slope_unknown():
    model = quadratic((3, 2))
    optimizer = torch.optim.SGD(model.groups(0.01))
    engine = Looking(2, at={0, 1})
    tuner = hidlr.HiDLR(optimizer, engine=engine)

    def differentiate():
        optimizer.zero_grad()
        loss = model()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(differentiate)
        tuner.step(model)
    ((base, slope, losses),) = engine.seen
    assert slope != slope
    assert losses[0] > losses[1] > losses[2] == pytest.approx(base)


def test_parameters_of_another_shape_do_not_fit():
    parameter = nn.Parameter(torch.ones(3))
    trail = Displacement([[parameter]]).trail([[0]], 0)
    assert isinstance(trail, Trail)
    assert trail.fits([[0]], [[parameter]])
    assert not trail.fits([[0]], [[nn.Parameter(torch.ones(4))]])
    assert not trail.fits([[1]], [[parameter]])
    assert not trail.fits([[0], []], [[parameter], []])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_average_is_kept_in_float32_where_parameters_are_coarse(dtype):
    # From 1 towards 1.02 by a twentieth each time: in bfloat16, whose spacing there is 0.0078, it would stay at 1.
    parameter = nn.Parameter(torch.ones(3, dtype=dtype))
    trail = Displacement([[parameter]]).trail([[0]], 0)
    with torch.no_grad():
        parameter.fill_(1.02)
    later = Displacement([[parameter]])
    for step in range(1, 30):
        trail = trail.follow(later.trail([[0]], step), 0.05)
    expected = 1 + (float(parameter.data[0]) - 1) * (1 - 0.95**29)
    torch.testing.assert_close(trail.start[0][0], torch.full((3,), expected, dtype=torch.float32), rtol=0, atol=1e-6)
    parameter.grad = torch.ones_like(parameter)
    assert trail.slope([[parameter]]) == pytest.approx(-3 * (float(parameter.data[0]) - expected), rel=1e-4)
    later.finish()
    later.place_back(trail, 0.0)
    torch.testing.assert_close(parameter.data, trail.start[0][0].to(dtype))


def test_what_is_saved_of_it_is_checked():
    model = quadratic((3, 2))
    optimizer = torch.optim.SGD(model.groups(1e-3))
    tuner = hidlr.HiDLR(optimizer, total_steps=200)
    for _ in range(6):
        optimizer.zero_grad()
        model().backward()
        optimizer.step()
        tuner.step(model)
    state = tuner.state_dict()
    assert state["trail"] is not None
    name = next(iter(state["trail"]["groups"]))
    for damage in (
        lambda trail: trail["groups"].pop(name),
        lambda trail: trail["groups"][name]["start"].append("no tensor"),
        lambda trail: trail["groups"][name]["positions"].__setitem__(0, 7),
        lambda trail: trail.pop("step"),
    ):
        damaged = copy.deepcopy(state)
        damage(damaged["trail"])
        with pytest.raises(hidlr.HidlrError):
            tuner.load_state_dict(damaged)
        assert tuner.rates == dict(state["written"])
