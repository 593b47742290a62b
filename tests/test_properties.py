"""What must hold whatever the numbers: order of groups, units of the loss, where a run is cut in two."""

import copy
import io
import json

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

import hidlr
from hidlr.engines import AxisEstimator, FullEstimator
from support.models import mlp
from support.quadratic import Quadratic, quadratic
from support.traces import assert_equal

pytestmark = pytest.mark.usefixtures("float64")
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)
SEEDS = st.integers(0, 10**6)
RATES = st.floats(1e-4, 1.0)

OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups),
    "momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
    # With eps this small the step does not depend on the gradient's scale.
    "adam": lambda groups: torch.optim.Adam(groups, eps=1e-300),
}
TUNERS = {
    "default": lambda optimizer: hidlr.HiDLR(optimizer, total_steps=60, overhead=1.0),
    "axis": lambda optimizer: hidlr.HiDLR.paper(optimizer, every=1, total_steps=60, estimator=AxisEstimator()),
    "full": lambda optimizer: hidlr.HiDLR.paper(optimizer, every=1, total_steps=60, estimator=FullEstimator()),
    "paper": lambda optimizer: hidlr.HiDLR.paper(optimizer, every=1, total_steps=60),
}


def bent(model):
    """The quadratic's loss with a quartic part, so that fits do not simply agree by being exact."""
    return lambda: model() + 0.01 * (model.vector() ** 4).sum()


def train(loss, optimizer, tuner, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        tuner.step(loss)
    return tuner.rates


@pytest.mark.parametrize("tuned", ["default", "axis", "full"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
@given(data=st.data(), sizes=SIZES, seed=SEEDS, rate=RATES)
def test_permuting_groups_permutes_the_rates(kind, tuned, data, sizes, seed, rate):
    order = data.draw(st.permutations(range(len(sizes))))
    results = []
    for permutation in (range(len(sizes)), order):
        model = quadratic(sizes, seed)
        groups = model.groups([rate * (1 + k) for k in range(len(sizes))])
        optimizer = OPTIMIZERS[kind]([groups[k] for k in permutation])
        # One step: later on the default engine measures its groups in turn, whose order is the optimizer's.
        results.append(train(bent(model), optimizer, TUNERS[tuned](optimizer), 1))
    first, second = results
    assert [f"part{k}" for k in order] == list(second)
    assert second == pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("tuned", TUNERS)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
@given(sizes=SIZES, seed=SEEDS, rate=RATES, power=st.integers(-20, 20))
def test_the_unit_of_the_loss_does_not_matter(kind, tuned, sizes, seed, rate, power):
    # Powers of two, so that scaling is exact. SGD's step has the unit of the gradient: its rates have the inverse.
    scale = 2.0**power
    unit = 1 / scale if kind == "sgd" else 1.0
    model, twin = quadratic(sizes, seed), quadratic(sizes, seed)
    optimizer = OPTIMIZERS[kind](model.groups(rate))
    other = OPTIMIZERS[kind](twin.groups(rate * unit))
    rates = train(bent(model), optimizer, TUNERS[tuned](optimizer), 8)
    loss = bent(twin)
    scaled = train(lambda: scale * loss(), other, TUNERS[tuned](other), 8)
    assert {name: value / unit for name, value in scaled.items()} == pytest.approx(rates, rel=1e-6)
    torch.testing.assert_close(twin.vector(), model.vector(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tuned", ["axis", "full", "paper"])
@given(sizes=SIZES, seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_nor_does_a_unit_that_rounds(tuned, sizes, seed, scale):
    model, twin = quadratic(sizes, seed), quadratic(sizes, seed)
    optimizer, other = OPTIMIZERS["adam"](model.groups(0.1)), OPTIMIZERS["adam"](twin.groups(0.1))
    rates = train(bent(model), optimizer, TUNERS[tuned](optimizer), 1)
    loss = bent(twin)
    assert train(lambda: scale * loss(), other, TUNERS[tuned](other), 1) == pytest.approx(rates, rel=1e-6)


@pytest.mark.parametrize("tuned", ["default", "axis", "full"])
@given(sizes=SIZES, seed=SEEDS, offset=st.floats(-100, 100))
def test_a_constant_in_the_loss_does_not_matter(tuned, sizes, seed, offset):
    model, twin = quadratic(sizes, seed), quadratic(sizes, seed)
    twin.offset += offset
    optimizer, other = OPTIMIZERS["sgd"](model.groups(0.1)), OPTIMIZERS["sgd"](twin.groups(0.1))
    rates = train(model, optimizer, TUNERS[tuned](optimizer), 1)
    assert train(twin, other, TUNERS[tuned](other), 1) == pytest.approx(rates, rel=1e-6)


@given(sizes=SIZES, seed=SEEDS, rate=st.floats(0.01, 1.0), factor=st.floats(0.1, 10.0))
def test_the_measured_optimum_does_not_depend_on_the_rate_it_is_measured_with(sizes, seed, rate, factor):
    results = []
    for start in (rate, rate * factor):
        model = quadratic(sizes, seed, coupled=False)
        optimizer = torch.optim.SGD(model.groups(start))
        tuner = hidlr.HiDLR.paper(optimizer, every=1, smoothing=0.0, clip=1e9, estimator=AxisEstimator())
        results.append(train(model, optimizer, tuner, 1))
    assert results[1] == pytest.approx(results[0], rel=1e-6)


@given(sizes=SIZES, seed=SEEDS, rate=RATES)
def test_the_full_rule_ends_at_the_minimum_over_the_step(sizes, seed, rate):
    # Placed at A^-1 b the loss is base - b.A^-1 b / 2, unless a group would have to walk backwards.
    model = quadratic(sizes, seed)
    optimizer = torch.optim.SGD(model.groups(rate))
    tuner = hidlr.HiDLR.paper(optimizer, every=1, smoothing=0.0, clip=1e9, min_r2=-1.0, estimator=FullEstimator())
    start, base = model.vector().detach(), model().item()
    model().backward()
    optimizer.step()
    slope, curvature = model.model(start, model.vector().detach() - start)
    best = torch.linalg.solve(curvature, slope)
    tuner.step(model)
    if bool((best > 0).all()):
        assert model().item() == pytest.approx(base - (slope @ best).item() / 2, rel=1e-8, abs=1e-8)


# -- a run cut in two ---------------------------------------------------------------------------


def through_torch(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def through_json(state):
    # All but the parameters at the last probe, which are tensors.
    plain = {key: value for key, value in state["tuner"].items() if key != "trail"}
    saved = through_torch(state)
    return {**saved, "tuner": {**json.loads(json.dumps(plain, allow_nan=False)), "trail": saved["tuner"]["trail"]}}


@pytest.mark.parametrize("carrier", [through_torch, through_json])
@pytest.mark.parametrize("tuned", TUNERS)
@settings(max_examples=6)
@given(splits=st.sets(st.integers(1, 24), min_size=1, max_size=3), kind=st.sampled_from(sorted(OPTIMIZERS)))
def test_cutting_a_run_in_two_changes_not_a_bit(tuned, carrier, splits, kind):
    def run(splits):
        task = mlp()
        optimizer = OPTIMIZERS[kind](task.param_groups(0.01))
        tuner = TUNERS[tuned](optimizer)
        lines = []
        for step in range(25):
            if step in splits:
                state = carrier(
                    {"model": task.model.state_dict(), "optimizer": optimizer.state_dict(), "tuner": tuner.state_dict()}
                )
                task = mlp()
                optimizer = OPTIMIZERS[kind](task.param_groups(1.0))
                tuner = TUNERS[tuned](optimizer)
                task.model.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
                tuner.load_state_dict(state["tuner"])
            task.backward()
            optimizer.step()
            record = tuner.step(task.closure)
            lines += [(record.step, record.phase, record.points, record.losses, record.rates)] if record else []
        return task.model.state_dict(), optimizer.state_dict(), tuner.state_dict(), lines

    assert_equal(run(splits), run(set()))


def test_a_copy_of_the_state_is_enough_for_two_runs():
    model = Quadratic(torch.eye(2), torch.ones(2), [1, 1], offset=3.0)
    optimizer = torch.optim.SGD(model.groups(0.1))
    tuner = hidlr.HiDLR(optimizer, total_steps=50)
    train(model, optimizer, tuner, 3)
    state = copy.deepcopy(tuner.state_dict())
    ends = []
    for _ in range(2):
        twin = copy.deepcopy(model)
        other = torch.optim.SGD(twin.groups(9.0))
        tuner = hidlr.HiDLR(other, total_steps=50)
        tuner.load_state_dict(state)
        ends.append((train(twin, other, tuner, 10), twin.vector().tolist()))
    assert ends[0] == ends[1]
