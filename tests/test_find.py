import copy

import pytest
import torch
from torch import nn

import hidlr
from hidlr.errors import ClosureError, InputError, InputTypeError, UnsupportedOptimizerError
from support.models import TASKS, mlp
from support.optimizers import EACH_VARIANT
from support.quadratic import Quadratic, quadratic
from support.traces import Trace


def curved(*curvatures, rate=1e-3, start=1.0):
    """One part of one entry per curvature: L = 3 + sum h w^2 / 2, from w = 1."""
    h = torch.tensor(curvatures, dtype=torch.float64)
    model = Quadratic(torch.diag(h), torch.zeros(len(h)), [1] * len(h), torch.full((len(h),), start), 3.0)
    return model, torch.optim.SGD(model.groups(rate))


@pytest.mark.parametrize("rate", [1e-8, 1e-3, 1.0, 1e2])
def test_plain_descent_on_a_diagonal_quadratic_wants_one_over_the_curvature(rate):
    model, optimizer = curved(0.5, 4.0, 100.0, rate=rate)
    report = hidlr.find_rates(model, optimizer, model)
    assert report.rates == pytest.approx({"part0": 2.0, "part1": 0.25, "part2": 0.01}, rel=1e-4)
    assert report.common == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("rate", [1e-8, 1e-3, 1.0, 1e2])
def test_adam_wants_the_distance_to_the_minimum(rate):
    # Its first step is rate * sign(g): from w = 2 that is 2 / rate steps, whatever the curvature.
    model, _ = curved(0.5, 4.0, 100.0, start=2.0)
    optimizer = torch.optim.Adam(model.groups(rate), eps=1e-30)
    report = hidlr.find_rates(model, optimizer, model)
    assert report.rates == pytest.approx(dict.fromkeys(("part0", "part1", "part2"), 2.0), rel=1e-4)


def test_groups_may_start_at_different_rates():
    model, _ = curved(0.5, 4.0)
    optimizer = torch.optim.SGD(model.groups([1e-5, 1.0]))
    assert hidlr.find_rates(model, optimizer, model).rates == pytest.approx({"part0": 2.0, "part1": 0.25}, rel=1e-4)


def test_coupled_groups_are_scaled_to_go_together():
    # H = [[1, c], [c, 1]] and g = (1, 1): alone each wants 1, together the line's minimum is 1 / (1 + c).
    c = 0.8
    hessian = torch.tensor([[1.0, c], [c, 1.0]], dtype=torch.float64)
    model = Quadratic(hessian, torch.ones(2), [1, 1], offset=3.0)
    report = hidlr.find_rates(model, torch.optim.SGD(model.groups(1e-3)), model)
    assert report.common == pytest.approx(1 / (1 + c), rel=1e-4)
    assert report.rates == pytest.approx({"part0": 1 / (1 + c), "part1": 1 / (1 + c)}, rel=1e-4)


def test_the_record_and_the_curves_are_in_units_of_the_rate():
    model, optimizer = curved(0.5, 4.0)
    report = hidlr.find_rates(model, optimizer, model)
    # Slope in lr: g^2 = h^2 w^2; curvature: h^3 w^2. Total 1/2 h w^2, all that the part can give.
    for group, h in zip(report.record.groups, (0.5, 4.0), strict=True):
        assert group.slope == pytest.approx(h**2, rel=1e-4)
        assert group.curvature == pytest.approx(h**3, rel=1e-4)
        assert (group.rate_before, group.accepted, group.size) == (1e-3, True, 1)
    assert report.record.rates == report.rates
    assert len(report.record.points) == len(report.record.losses) == report.record.forwards
    for curve, h in zip(report.curves, (0.5, 4.0), strict=True):
        assert curve.base_loss == pytest.approx(3 + 0.5 / 2 + 4.0 / 2, rel=1e-12)
        assert curve.best_rate == pytest.approx(1 / h, rel=1e-4)
        assert len(curve.rates) == len(curve.losses) >= 5
        for rate, loss in zip(curve.rates, curve.losses, strict=True):
            expected = curve.base_loss + h / 2 * ((1 - rate * h) ** 2 - 1)
            assert loss == pytest.approx(expected, rel=1e-9)


def test_a_group_at_rate_zero_stays_there():
    model, _ = curved(0.5, 4.0)
    report = hidlr.find_rates(model, torch.optim.SGD(model.groups([0.0, 1e-3])), model)
    assert report.rates == pytest.approx({"part0": 0.0, "part1": 0.25}, rel=1e-4)
    assert [curve.name for curve in report.curves] == ["part1"]
    assert not report.record.groups[0].accepted


def test_frozen_groups_stay_as_they_are():
    model, optimizer = curved(0.5, 4.0)
    model.parts[0].requires_grad_(False)
    assert hidlr.find_rates(model, optimizer, model).rates == pytest.approx({"part0": 1e-3, "part1": 0.25}, rel=1e-4)


def test_it_prints_rates_to_paste():
    model, optimizer = curved(0.5, 4.0)
    text = str(hidlr.find_rates(model, optimizer, model))
    assert text.endswith("rates = {'part0': 2, 'part1': 0.25}")


def test_the_plot_has_a_panel_per_group():
    pytest.importorskip("matplotlib")
    model, optimizer = curved(0.5, 4.0)
    figure = hidlr.find_rates(model, optimizer, model).plot()
    assert len([axes for axes in figure.axes if axes.has_data()]) == 2


# -- no trace -----------------------------------------------------------------------------------


class Busy(nn.Module):
    """All that a forward pass may disturb."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3))
        self.other = nn.Linear(6, 3)  # trained by someone else, if at all

    def forward(self, x):
        hidden = self.layers[:4](x)
        return self.layers[4](hidden) + self.other(hidden)


@pytest.mark.parametrize("gradients", [False, True], ids=["no gradients", "gradients at hand"])
@pytest.mark.parametrize("fails", [False, True], ids=["", "fails half way"])
@pytest.mark.parametrize(
    "kind", [lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9), lambda ps: torch.optim.AdamW(ps, lr=1e-3)]
)
def test_no_trace_in_the_middle_of_training(kind, fails, gradients):
    model = Busy()
    optimizer = kind([{"params": list(model.layers.parameters()), "name": "all"}])
    x, y = torch.randn(8, 4), torch.randint(3, (8,))

    def closure():
        return nn.functional.cross_entropy(model(x), y)

    for _ in range(2):
        optimizer.zero_grad()
        closure().backward()
        optimizer.step()
    if not gradients:
        optimizer.zero_grad()
        model.zero_grad()
    trace = Trace(model, optimizer)
    if fails:
        calls = []

        def failing():
            calls.append(model.eval())
            torch.rand(3)
            if len(calls) == 5:
                raise ZeroDivisionError
            return closure()

        with pytest.raises(ZeroDivisionError):
            hidlr.find_rates(model, optimizer, failing)
    else:
        hidlr.find_rates(model, optimizer, closure)
    trace.assert_same()


@EACH_VARIANT
def test_no_trace_for_any_optimizer(row, variant):
    task = mlp()
    optimizer = row.build(row.groups(task), **variant)
    for fresh in (True, False):
        trace = Trace(task.model, optimizer)
        if row.still and fresh:
            with pytest.raises(InputError, match="no group moved"):
                hidlr.find_rates(task.model, optimizer, task.closure)
        else:
            report = hidlr.find_rates(task.model, optimizer, task.closure)
            assert all(0 < rate < float("inf") for rate in report.rates.values()), fresh
        trace.assert_same()
        task.backward()
        optimizer.step()


@pytest.mark.parametrize("name", TASKS)
def test_its_rates_lower_the_loss(name):
    task = TASKS[name]()
    optimizer = torch.optim.SGD(task.param_groups(1e-4))
    report = hidlr.find_rates(task.model, optimizer, task.closure)
    for group in optimizer.param_groups:
        group["lr"] = report.rates[group["name"]]
    before = task.backward()
    optimizer.step()
    assert task.closure() < before


def test_a_tuner_on_the_same_optimizer_does_not_notice():
    task = mlp()
    optimizer = torch.optim.AdamW(task.param_groups(1e-3))
    tuner = hidlr.HiDLR(optimizer, total_steps=10)
    state = copy.deepcopy(tuner.state_dict())
    trace = Trace(task.model, optimizer)
    hidlr.find_rates(task.model, optimizer, task.closure)
    trace.assert_same()
    assert tuner.state_dict() == state
    assert tuner.step(task.closure) is None


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("closure", "error", "message"),
    [
        (
            lambda model: lambda: model().item(),
            ClosureError,
            r"scalar loss connected to the parameters.*without no_grad, \.item\(\)",
        ),
        (lambda model: lambda: model().detach(), ClosureError, "scalar loss connected"),
        (lambda model: torch.no_grad()(model.forward), ClosureError, "without no_grad"),
        (lambda model: lambda: torch.stack([model(), model()]), ClosureError, "scalar loss"),
        (lambda model: lambda: model().backward(), ClosureError, "or backward"),
        (lambda model: lambda: model() * float("nan"), InputError, "the loss is nan"),
    ],
)
def test_closures_that_cannot_serve(closure, error, message):
    model, optimizer = curved(0.5, 4.0)
    trace = Trace(model, optimizer)
    with pytest.raises(error, match=message):
        hidlr.find_rates(model, optimizer, closure(model))
    trace.assert_same()


def test_nothing_can_move():
    model, _ = curved(0.5, 4.0)
    optimizer = torch.optim.SGD(model.groups([0.0, 0.0]))
    with pytest.raises(InputError, match="no group moved: every lr is 0"):
        hidlr.find_rates(model, optimizer, model)


def test_no_minimum():
    weight = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.SGD(weight.parameters(), lr=0.1)
    trace = Trace(weight, optimizer)
    with pytest.raises(InputError, match="no minimum along the optimizer's step: is the loss bounded"):
        hidlr.find_rates(weight, optimizer, lambda: weight.weight.sum())
    trace.assert_same(names=False)


def test_parameters_of_another_model():
    model, _ = curved(0.5)
    other, optimizer = curved(0.5)
    with pytest.raises(InputError, match="group 'part0' has parameters that are not the model's"):
        hidlr.find_rates(model, optimizer, other)


def test_optimizers_it_cannot_serve():
    model = quadratic((2,))
    with pytest.raises(UnsupportedOptimizerError, match="LBFGS cannot be tuned"):
        hidlr.find_rates(model, torch.optim.LBFGS(model.parameters()), model)
    with pytest.raises(InputTypeError, match="not ParameterList"):
        hidlr.find_rates(model, model.parts, model)


def test_sparse_gradients():
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD([{"params": [embedding.weight], "name": "a"}], lr=0.1)
    trace = Trace(embedding, optimizer)
    with pytest.raises(UnsupportedOptimizerError, match="sparse gradient"):
        hidlr.find_rates(embedding, optimizer, lambda: (embedding(torch.tensor([1])) ** 2).sum())
    trace.assert_same()
