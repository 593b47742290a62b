import math
from pathlib import Path

import pytest
import torch
from benchmarks.data import MissingDataError, data_folder
from benchmarks.workloads.functions import FLOOR
from benchmarks.workloads.nam import SHAPES
from sklearn.linear_model import LogisticRegression, Ridge

import hidlr
from benchmarks import workloads
from hidlr.workloads import Workload
from support import workloads as support

REGRESSIONS = ("cancer-logistic", "wine-softmax", "digits-softmax", "diabetes-linear")
FUNCTIONS = ("rosenbrock", "beale", "ellipse")
NAMES = ("housing-nam", "synthetic-nam", *REGRESSIONS, *FUNCTIONS)
OPTIMIZERS = {"adamw", "momentum", "sgd"}


def get(name: str) -> Workload:
    if name == "housing-nam":
        support.require_files("housing/housing.csv")
    return workloads.get(name)


@pytest.fixture(params=NAMES)
def workload(request: pytest.FixtureRequest) -> Workload:
    return get(request.param)


@pytest.mark.usefixtures("isolated")
def test_model_and_batches_depend_on_seed_and_step_alone(workload: Workload) -> None:
    support.assert_model_depends_on_seed_alone(workload)
    support.assert_batches_depend_on_step_and_seed_alone(workload, tuple(range(30)), fixed=workload.name in FUNCTIONS)


@pytest.mark.usefixtures("isolated")
def test_loss_metrics_and_mode(workload: Workload) -> None:
    support.assert_loss_metrics_and_mode(workload)


def test_declares_its_optimizers_and_groups(workload: Workload) -> None:
    optimizers = getattr(workload, "optimizers", ())
    assert optimizers
    assert set(optimizers) <= OPTIMIZERS
    assert workload.defaults.optimizer == optimizers[0]
    by = workload.groupings.get(workload.defaults.groups, workload.defaults.groups)
    groups = hidlr.param_groups(workload.build(0), by=by)
    expected = {"housing-nam": 9, "synthetic-nam": 11}.get(workload.name, 2)
    assert len(groups) == expected


def test_a_short_run_learns(workload: Workload) -> None:
    rate = {"beale": 0.3, "rosenbrock": 0.3, "ellipse": 0.3}.get(workload.name, 0.01)
    model = workload.build(0)
    before = workload.evaluate(model)[workload.metric_name]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0)
    for step in range(40):
        optimizer.zero_grad()
        workload.loss(model, workload.batch(step, 0)).backward()
        optimizer.step()
    after = workload.evaluate(model)[workload.metric_name]
    # Rosenbrock's valley is flat: 40 of its 1,000 steps reach the floor and little more.
    assert after < before - (0.05 if workload.name == "rosenbrock" else 0.2)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_the_optimum_is_scikit_learns(name: str) -> None:
    workload = workloads.get(name)
    inputs, targets = workload.train.inputs.double(), workload.train.targets
    regresses = targets.is_floating_point()
    batch = (inputs, targets.double() if regresses else targets)
    peer = Ridge() if regresses else LogisticRegression(tol=1e-8, max_iter=5000)
    peer.fit(inputs.numpy(), targets.numpy())
    model = workload.build(0).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor(peer.coef_).reshape(model.weight.shape))
        model.bias.copy_(torch.tensor(peer.intercept_).reshape(-1))
    loss = workload.loss(model, batch)
    loss.backward()
    for parameter in model.parameters():  # convex: a flat point is the optimum
        torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "rows"), [("cancer-logistic", 569), ("wine-softmax", 178), ("diabetes-linear", 442)])
def test_regressions_hold_out_a_third_and_standardise_by_the_rest(name: str, rows: int) -> None:
    workload = workloads.get(name)
    assert len(workload.train) + len(workload.validation) == rows
    assert len(workload.validation) == rows // 3
    inputs = workload.train.inputs
    torch.testing.assert_close(inputs.mean(0), torch.zeros(inputs.shape[1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(0, correction=0), torch.ones(inputs.shape[1]), atol=1e-5, rtol=0)


def test_dark_pixels_stay_finite() -> None:
    workload = workloads.get("digits-softmax")
    assert workload.train.inputs.isfinite().all()
    assert workload.validation.inputs.isfinite().all()


@pytest.mark.parametrize("name", REGRESSIONS)
def test_validation_loss_leaves_the_penalty_out(name: str) -> None:
    workload = workloads.get(name)
    model = workload.build(0)
    held_out = (workload.validation.inputs, workload.validation.targets)
    scale = 1.0 if name == "diabetes-linear" else 0.5
    penalty = scale * model.weight.square().sum().item() / len(workload.train)
    expected = workload.loss(model, held_out).item() - penalty
    assert workload.evaluate(model)["val_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_metric_is_orders_of_magnitude_down_to_a_floor(name: str) -> None:
    workload = workloads.get(name)
    model = workload.build(0)
    scores = workload.evaluate(model)
    assert scores["log10_loss"] == pytest.approx(math.log10(scores["loss"]))
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), workload.minimum, strict=True):
            parameter.fill_(value)
    assert workload.evaluate(model)["log10_loss"] == FLOOR
    with torch.no_grad():
        model.x.add_(1e-8)
    assert workload.evaluate(model)["log10_loss"] == FLOOR
    with torch.no_grad():
        model.x.fill_(math.nan)
    assert math.isnan(workload.evaluate(model)["log10_loss"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_starts_are_near_the_functions_own(name: str) -> None:
    workload = workloads.get(name)
    points = [workload.point(workload.build(seed)) for seed in range(20)]
    assert len(set(points)) == 20
    for point in points:
        assert all(abs(value - centre) <= 0.1 for value, centre in zip(point, workload.start, strict=True))


def test_synthetic_rows_are_the_sum_of_the_shapes() -> None:
    workload = workloads.get("synthetic-nam")
    data = workload._data
    assert (len(data.train), len(data.validation), len(data.test)) == (5000, 5000, 5000)
    # Standardising is affine and every feature is uniform on [-1, 1], whose ends 15,000 rows nearly reach.
    inputs = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    low, high = inputs.amin(0), inputs.amax(0)
    features = 2 * (data.validation.inputs - low) / (high - low) - 1
    truth = torch.stack([shape(x) for shape, x in zip(SHAPES.values(), features.unbind(1), strict=True)]).sum(0)
    residue = torch.corrcoef(torch.stack([truth, data.validation.targets]))[0, 1]
    assert residue > 0.999
    assert data.train.targets.std().item() == pytest.approx(1.0, abs=1e-4)


def test_housing_is_complete_and_standardised() -> None:
    data = get("housing-nam")._data
    assert (len(data.train), len(data.validation), len(data.test)) == (14448, 3096, 3096)
    for part in (data.train, data.validation, data.test):
        assert part.inputs.isfinite().all()
        assert part.inputs.shape[1] == 8
        assert part.inputs.abs().max() < 25  # people per household have a long tail: 119 without logarithms
    torch.testing.assert_close(data.train.inputs.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(data.train.inputs.std(0), torch.ones(8), atol=1e-4, rtol=0)


def test_housing_without_data_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIDLR_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"housing/housing\.csv"):
        workloads.get("housing-nam", None)


def test_the_folder_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HIDLR_DATA", str(tmp_path))
    assert data_folder() == tmp_path
