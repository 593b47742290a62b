"""The default engine on losses whose best rates are known."""

import copy
import math
import statistics

import pytest
import torch
from torch import nn

import hidlr
from support.quadratic import Quadratic, quadratic, random_spd, random_vector

pytestmark = pytest.mark.usefixtures("float64")
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups),
    "adam": lambda groups: torch.optim.Adam(groups),
    "momentum": lambda groups: torch.optim.SGD(groups, momentum=0.9),
}


def step(model, optimizer, tuner, prepare=lambda: None):
    """One training step; returns the record, the rates it was taken with, and b, A by definition."""
    optimizer.zero_grad()
    start, rates = model.vector().detach(), tuner.rates
    model().backward()
    prepare()
    optimizer.step()
    slope, curvature = model.model(start, model.vector().detach() - start)
    return tuner.step(model), rates, slope, curvature


def calibrated(model, optimizer, tuner, prepare=lambda: None):
    """Steps until the engine has found rates: the record of that step and its joint optimum b / A."""
    for _ in range(5):
        record, rates, slope, curvature = step(model, optimizer, tuner, prepare)
        if not record.note:
            return record, {name: rate * float(slope.sum() / curvature.sum()) for name, rate in rates.items()}
    pytest.fail(f"not calibrated after 5 steps: {record.note}")
    return None


def found(record):
    """Each group's own minimum b_k / A_kk, in units of the rate."""
    return {group.name: group.slope / group.curvature for group in record.groups}


RATES = [1e-8, 1e-6, 1e-4, 1e-2, 1.0, 1e2]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_group_finds_the_joint_optimum_from_any_starting_rate(name, rate):
    model = quadratic((6,))
    optimizer = OPTIMIZERS[name](model.groups(rate))
    record, optimum = calibrated(model, optimizer, hidlr.HiDLR(optimizer, schedule="constant"))
    assert found(record) == pytest.approx(optimum, rel=1e-3)
    # A warm-up may begin below it, and 1 / (1 - 0.9) times further below where a velocity has yet to build up.
    assert 0.005 * optimum["part0"] < record.rates["part0"] < 2 * optimum["part0"]


@pytest.mark.parametrize("rate", RATES)
def test_plain_descent_ends_its_warm_up_near_the_joint_optimum_from_any_starting_rate(rate):
    # g.g / g.Hg lies between 1 / largest and 1 / smallest eigenvalue wherever the run stands.
    model = quadratic((6,))
    largest, smallest = (1 / torch.linalg.eigvalsh(model.hessian)[[-1, 0]]).tolist()
    optimizer = torch.optim.SGD(model.groups(rate))
    tuner = hidlr.HiDLR(optimizer, total_steps=200, schedule="constant")
    before = model().item()
    for _ in range(60):
        step(model, optimizer, tuner)
        assert model().item() < before
    assert 0.5 * largest < tuner.rates["part0"] < 2 * smallest


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_groups_find_the_same_rate(name, rate):
    block, gradient, start = random_spd(4, 3), random_vector(4, 4), random_vector(4, 5)
    model = Quadratic(torch.block_diag(block, block), torch.cat([gradient] * 2), [4, 4], torch.cat([start] * 2), 3.0)
    optimizer = OPTIMIZERS[name](model.groups(rate))
    record, optimum = calibrated(model, optimizer, hidlr.HiDLR(optimizer, schedule="constant"))
    first, second = record.rates.values()
    assert first == pytest.approx(second, rel=1e-3)
    assert found(record) == pytest.approx(optimum, rel=1e-3)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_unequal_groups_are_told_apart(name, rate):
    # One part is 100 times as steep as the other.
    h = torch.tensor([100.0] * 3 + [1.0] * 3)
    model = Quadratic(torch.diag(h), torch.zeros(6), [3, 3], torch.ones(6), 3.0)
    optimizer = OPTIMIZERS[name](model.groups(rate))
    before = model().item()
    record, _ = calibrated(model, optimizer, hidlr.HiDLR(optimizer, schedule="constant"))
    assert model().item() < before
    # Alone, each part's best rate is 1 / h, or with Adam the way from w = 1 to 0.
    expected = {"part0": 1.0, "part1": 1.0} if name == "adam" else {"part0": 0.01, "part1": 1.0}
    assert found(record) == pytest.approx(expected, rel=1e-3)
    steep, flat = record.rates.values()
    assert steep <= flat * (1 + 1e-6)


@pytest.mark.parametrize("rate", [1e-6, 1e-3, 1.0])
def test_float32_parameters(rate):
    model = quadratic((6,))
    for part in model.parts:
        part.data = part.data.float()
    model.hessian, model.gradient = model.hessian.float(), model.gradient.float()
    optimizer = torch.optim.SGD(model.groups(rate))
    gradient = (model.gradient + model.hessian @ model.vector().detach()).double()
    # g.g / g.Hg is the best rate of plain descent.
    optimum = (gradient @ gradient / (gradient @ model.hessian.double() @ gradient)).item()
    tuner = hidlr.HiDLR(optimizer, schedule="constant")
    model().backward()
    optimizer.step()
    record = tuner.step(model)
    # At 1e-6 the step itself is rounded to a few digits.
    assert found(record)["part0"] == pytest.approx(optimum, rel=0.2)


@pytest.mark.parametrize("limit", [1e-2, 1e-4])
def test_clipped_gradients_of_sgd_are_made_up_for(limit):
    model, twin = quadratic((4, 4)), quadratic((4, 4))
    optimizer, other = torch.optim.SGD(model.groups(0.1)), torch.optim.SGD(twin.groups(0.1))
    tuner, reference = (hidlr.HiDLR(each, schedule="constant") for each in (optimizer, other))
    twin().backward()
    norm = torch.cat([p.grad for p in twin.parameters()]).norm().item()
    other.zero_grad()
    expected, _ = calibrated(twin, other, reference)
    record, _ = calibrated(model, optimizer, tuner, lambda: nn.utils.clip_grad_norm_(model.parameters(), limit * norm))
    # The direction is shorter by the factor `limit`, so the rate is longer by it, and the step the same.
    for name, rate in expected.rates.items():
        assert record.rates[name] * limit == pytest.approx(rate, rel=0.2)
        assert found(record)[name] * limit == pytest.approx(found(expected)[name], rel=0.2)
    torch.testing.assert_close(model.vector(), twin.vector(), rtol=0.2, atol=0.1)


@pytest.mark.parametrize("limit", [1e-2, 1e-4])
def test_clipped_gradients_of_adam_change_nothing(limit):
    model, twin = quadratic((4, 4)), quadratic((4, 4))
    optimizer, other = torch.optim.Adam(model.groups(0.1)), torch.optim.Adam(twin.groups(0.1))
    expected, _ = calibrated(twin, other, hidlr.HiDLR(other, schedule="constant"))
    record, _ = calibrated(
        model,
        optimizer,
        hidlr.HiDLR(optimizer, schedule="constant"),
        lambda: nn.utils.clip_grad_norm_(model.parameters(), limit),
    )
    for name, rate in expected.rates.items():
        assert record.rates[name] == pytest.approx(rate, rel=0.2)
        assert found(record)[name] == pytest.approx(found(expected)[name], rel=0.2)


def train(loss, optimizer, tuner, steps, groups=None):
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        tuner.step(loss)
    rates = tuner.rates.values()
    assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
    return list(rates)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_at_the_minimum_rates_are_kept(name):
    model = Quadratic(torch.eye(3), torch.zeros(3), [1, 2])
    optimizer = OPTIMIZERS[name](model.groups([0.1, 0.3]))
    assert train(model, optimizer, hidlr.HiDLR(optimizer, schedule="constant"), 40) == [0.1, 0.3]
    assert model.vector().tolist() == [0.0, 0.0, 0.0]


def test_weight_decay_at_the_minimum_does_no_harm():
    # The only move is the decay, which climbs.
    model = Quadratic(torch.eye(3), torch.full((3,), -1.0), [1, 2], torch.ones(3))
    optimizer = torch.optim.AdamW(model.groups([0.1, 0.3]), weight_decay=0.1)
    rates = train(model, optimizer, hidlr.HiDLR(optimizer, schedule="constant"), 40)
    assert all(1e-4 < rate < 1e3 for rate in rates)


def test_a_group_without_gradient_beside_one_with():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([{"params": [used], "name": "used"}, {"params": [unused], "name": "unused"}], lr=1e-3)
    tuner = hidlr.HiDLR(optimizer, schedule="constant")
    train(lambda: (used**2).sum() + 0 * unused.sum(), optimizer, tuner, 20)
    assert torch.equal(unused, torch.ones(3))
    assert used.abs().max() < 1


@pytest.mark.parametrize("offset", [0.0, 3.0, 1e6])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_rates_do_not_wander_below_the_noise_of_the_loss(name, offset):
    # The run converges long before it ends; what is left then is rounding, or Adam about the minimum, and lower rates
    # then end lower.
    model = quadratic((3, 3))
    model.offset = offset
    optimizer = OPTIMIZERS[name](model.groups(0.01))
    tuner = hidlr.HiDLR(optimizer, total_steps=400, overhead=0.5)
    train(model, optimizer, tuner, 150)
    early, loss = tuner.state_dict()["tuned"], model()
    train(model, optimizer, tuner, 250)
    late = tuner.state_dict()["tuned"]
    for part, rate in early.items():
        assert late[part] / rate < 10
        assert late[part] / rate > (1e-3 if name == "adam" else 0.1)
    assert model().item() <= loss.item() + 1e-9


def test_probes_that_overflow():
    # cosh(10 w) from w = 1/2: a rate of 100 leads to w = -74,000, where the loss is infinite.
    w = nn.Parameter(torch.tensor(0.5))
    optimizer = torch.optim.SGD([w], lr=100.0)
    tuner = hidlr.HiDLR(optimizer, schedule="constant")

    def loss():
        return torch.cosh(10 * w)

    first = loss().item()
    rates = train(loss, optimizer, tuner, 5)
    assert any(not math.isfinite(value) for value in tuner.history[0].losses)
    assert loss().item() < first
    assert 0 < rates[0] < 1


def test_a_loss_that_is_nan_beyond_a_point():
    # The logarithm of what a long step makes negative.
    w = nn.Parameter(torch.tensor([2.0, 3.0]))
    optimizer = torch.optim.SGD([w], lr=10.0)
    tuner = hidlr.HiDLR(optimizer, schedule="constant")

    def loss():
        return (w - w.log()).sum()

    first = loss().item()
    train(loss, optimizer, tuner, 20)
    assert 2.0 - 1e-9 <= loss().item() < first
    assert torch.isfinite(w).all()


@pytest.mark.parametrize("bend", [0.0, -1e-3], ids=["straight", "concave"])
def test_a_loss_without_minimum_costs_no_more_than_the_budget(bend):
    # There is nothing to calibrate on, at any step.
    w = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([w], lr=1e-3)
    tuner = hidlr.HiDLR(optimizer, total_steps=300, overhead=0.1)
    rates = train(lambda: w.sum() + bend * (w**2).sum(), optimizer, tuner, 300)
    assert rates[0] > 0
    forwards = sum(record.forwards for record in tuner.history)
    assert forwards <= 0.13 * 3 * 300


def test_more_groups_than_the_first_step_measures():
    model = quadratic((1,) * 20)
    optimizer = torch.optim.Adam(model.groups(1e-3))
    tuner = hidlr.HiDLR(optimizer, total_steps=100)
    before = model().item()
    rates = train(model, optimizer, tuner, 100)
    assert len(rates) == 20
    assert model().item() < before
    assert set(tuner.influence().measured) == {f"part{k}" for k in range(20)}
    assert sum(count > 0 for count in tuner.influence().measured.values()) >= 5


def test_a_late_measurement_moves_a_rate_little():
    # More groups than the first step measures, and curvatures over four orders: each that comes in turn
    # finds itself far from its place.
    h = torch.logspace(-2, 2, 12)[torch.randperm(12)]
    model = Quadratic(torch.diag(h), torch.zeros(12), [1] * 12, torch.ones(12), 3.0)
    optimizer = torch.optim.SGD(model.groups(1e-3))
    tuner = hidlr.HiDLR(optimizer, total_steps=200, overhead=0.5, schedule="constant")
    train(model, optimizer, tuner, 200)
    late = [record for record in tuner.history if record.phase in ("warm-up", "track")]
    assert len(late) >= 12
    beside = []  # each group's change beside what became of all
    for record in late:
        changes = [group.rate_after / group.rate_before for group in record.groups]
        beside += [change / statistics.median(changes) for change in changes]
    # Without momentum a group beyond the edge of its own stability is halved at once.
    assert all(0.4 < change < 1.6 for change in beside)
    assert max(beside) > 1.01


@pytest.mark.parametrize("splits", [{1}, {4}, {12}, {35}, set(range(1, 80))], ids=["1", "4", "12", "35", "every"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_its_state_continues_bit_for_bit(name, splits):
    def run(splits):
        model = quadratic((3, 2, 4))
        optimizer = OPTIMIZERS[name](model.groups(1e-4))
        tuner = hidlr.HiDLR(optimizer, total_steps=120, overhead=0.5)
        for index in range(80):
            if index in splits:
                state = copy.deepcopy((optimizer.state_dict(), tuner.state_dict()))
                model = copy.deepcopy(model)
                optimizer = OPTIMIZERS[name](model.groups(7.0))
                tuner = hidlr.HiDLR(optimizer, total_steps=120, overhead=0.5)
                optimizer.load_state_dict(state[0])
                tuner.load_state_dict(state[1])
            step(model, optimizer, tuner)
        return model.vector().tolist(), tuner.state_dict()

    assert run(splits) == run(set())
