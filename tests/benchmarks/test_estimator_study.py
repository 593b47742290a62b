"""The study of estimators, on a softmax regression whose derivatives are known."""

import json
import re
from pathlib import Path

import pytest
import torch
from benchmarks.estimators import Study
from benchmarks.estimators_ray import Ray, Training
from benchmarks.estimators_uses import LIMIT, minimisers
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.func import functional_call
from torch.nn import functional

from benchmarks import estimators, estimators_figures, estimators_plot, estimators_report
from hidlr import plans
from hidlr.workloads.base import Batch, Defaults, Workload

PAGE = Path(__file__).parents[2] / "docs" / "estimators.md"


class Softmax(Workload):
    """Three classes of points in the plane, two layers."""

    name = "softmax"
    description = "toy"
    metric_name = test_name = "val_loss"
    higher_is_better = False
    defaults = Defaults(optimizer="adamw", steps=200, groups="tensor", weight_decay=0.01)
    linear = False

    def build(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(2, 3) if self.linear else nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3))

    def batch(self, step: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(1000 * seed + step)
        x = torch.randn(8, 2, generator=generator)
        return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"val_loss": float(self.loss(model, self.batch(0, 9)))}


class Squares(Softmax):
    """Linear regression on the same points: an exact parabola."""

    linear = True

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return functional.mse_loss(model(batch[0]), functional.one_hot(batch[1], 3).to(batch[0].dtype))


def a_step(workload: Workload) -> tuple[Ray, Batch]:
    """A step in the middle of a training, in float64, and its batch."""
    training = Training(workload, "momentum", 0.1)
    for step in range(5):
        training.advance(workload.batch(step, 0))
    batch = workload.batch(5, 0)
    return training.advance(batch).double(), batch


def by_hand(ray: Ray, batch: Batch) -> tuple[Tensor, Tensor]:
    """b and A from the loss as a function of xi alone."""
    names = {id(parameter): name for name, parameter in ray.model.named_parameters()}
    ray.place([0.0] * ray.groups)
    start = {name: parameter.detach().clone() for name, parameter in ray.model.named_parameters()}
    batch = tuple(part.double() if part.is_floating_point() else part for part in batch)

    class At(nn.Module):
        def __init__(self, values: dict[str, Tensor]) -> None:
            super().__init__()
            self.values = values

        def forward(self, x: Tensor) -> Tensor:
            return functional_call(ray.model, self.values, (x,))

    def loss(xi: Tensor) -> Tensor:
        values = dict(start)
        for k, (parameters, moves) in enumerate(zip(ray.parameters, ray.moves, strict=True)):
            for parameter, move in zip(parameters, moves, strict=True):
                values[names[id(parameter)]] = start[names[id(parameter)]] + xi[k] * move
        return ray.workload.loss(At(values), batch)

    zero = torch.zeros(ray.groups, dtype=torch.float64)
    return -jacobian(loss, zero), hessian(loss, zero)


class TestTruth:
    def test_is_the_derivative_in_xi(self) -> None:
        ray, batch = a_step(Softmax())
        torch.testing.assert_close(ray.exact(batch), by_hand(ray, batch))
        torch.testing.assert_close(ray.exact(batch)[0], -ray.gradient([0.0] * ray.groups, [batch]))

    def test_differences_of_gradients_come_near(self) -> None:
        ray, batch = a_step(Softmax())
        torch.testing.assert_close(ray.differences([batch], 1e-5), ray.exact(batch)[1], rtol=1e-3, atol=1e-9)

    def test_leaves_the_training_alone(self) -> None:
        work = Softmax()
        plain, studied = (Training(work, "adamw", 0.01) for _ in range(2))
        for step in range(3):
            plain.advance(work.batch(step, 0))
            ray = studied.advance(work.batch(step, 0))
            estimators.study_step(ray, work.batch(step, 0), work.batch(step + 1, 0), [work.batch(0, 4)], seed=0)
            ray.place([1.0] * ray.groups)
            estimators.study_bias(studied, 4, [work.batch(0, 4)])
        for one, other in zip(plain.model.parameters(), studied.model.parameters(), strict=True):
            assert torch.equal(one, other)


class TestEstimators:
    @pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
    def test_exact_on_a_parabola(self, size: float) -> None:
        ray, batch = a_step(Squares())
        slope, curvature = ray.exact(batch)
        parts = {"curvature": curvature.diagonal(), "rows": curvature.sum(1), "matrix": curvature, "slope": slope}
        found = [*estimators.forward_estimates(ray, batch, size, slope)]
        found += [
            e for e in estimators.other_estimates(ray, batch, size, 0) if e["name"] in ("row sums", "axis gradients")
        ]
        assert len(found) == 6
        for estimate in found:
            if "total" in estimate:
                assert estimate["total"] == pytest.approx(float(curvature.sum()), rel=1e-6)
            for key in parts.keys() & estimate.keys():
                torch.testing.assert_close(estimate[key].double(), parts[key], rtol=1e-4, atol=1e-9)

    def test_random_signs_average_to_the_diagonal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(estimators, "SIGNS", 4000)
        ray, batch = a_step(Squares())
        curvature = ray.exact(batch)[1]
        draws = next(e for e in estimators.other_estimates(ray, batch, 1.0, 0) if e["name"] == "random signs")["draws"]
        error = (draws.mean(0) - curvature.diagonal()).abs().max()
        assert error < 0.1 * (curvature - curvature.diagonal().diag()).abs().max()


class TestMinimisers:
    b = torch.tensor([1.0, 2.0], dtype=torch.float64)

    def test_full_is_the_minimum_where_well_conditioned(self) -> None:
        A = torch.tensor([[2.0, 0.5], [0.5, 3.0]], dtype=torch.float64)
        found = minimisers(self.b, A)
        torch.testing.assert_close(found["full"][0], torch.linalg.solve(A, self.b))
        assert found["full"][1] == max(believed for name, (_, believed) in found.items() if name != "diagonal")

    def test_all_agree_on_one_group(self) -> None:
        for name, (xi, _) in minimisers(self.b[:1], torch.tensor([[4.0]]).double()).items():
            assert xi.item() == pytest.approx(1.0 if name == "as it is" else 0.25), name

    def test_stays_where_there_is_no_minimum(self) -> None:
        for sign in (self.b * -1, self.b):
            bend = torch.eye(2).double() * (1 if sign[0] < 0 else -1)
            found = minimisers(sign, bend)
            for name in ("joint", "diagonal", "row sums"):
                assert found[name][0].tolist() == [1.0, 1.0]

    def test_goes_no_further_than_the_limit(self) -> None:
        found = minimisers(self.b, torch.eye(2).double() * 1e-6)
        assert all(xi.abs().max() <= LIMIT for xi, _ in found.values())


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole study of the toy."""
    monkeypatch.setattr(estimators.workloads, "get", lambda name, data: Softmax())
    path = tmp_path / "estimators.jsonl"
    for optimizer in ("adamw", "momentum"):
        estimators.run(Study("softmax", optimizer, 0.01, 3, (4, 8, 16)), None, path)
    return path


class TestStudy:
    def test_takes_up_where_it_stopped(self, results: Path) -> None:
        lines = results.read_text().splitlines()
        assert len(lines) == 2 * len(estimators.MOMENTS) * len(estimators.PARTS)
        study = Study("softmax", "momentum", 0.01, 3, (4, 8, 16))
        estimators.run(study, None, results)
        assert results.read_text().splitlines() == lines
        results.write_text("\n".join(lines[:-1]) + "\n")
        estimators.run(study, None, results)
        before, after = (json.loads(text) for text in (lines[-1], results.read_text().splitlines()[-1]))
        assert before | {"seconds": 0} == after | {"seconds": 0}

    def test_reports(self, results: Path, tmp_path: Path) -> None:
        found = estimators_figures.errors(results)
        assert found["axis both ways", "float64", 0.1].median("own") < 1e-3
        assert found["exact products", "float64", 0.0].median("own") == 0
        for table in estimators_report.TABLES.values():
            rows = [line for line in table(results).splitlines() if line.startswith("|")]
            assert len({row.count("|") for row in rows}) == 1
        pytest.importorskip("matplotlib")
        estimators_plot.draw(results, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_the_page_has_every_table() -> None:
    named = re.findall(r"<!-- table:(\w+) -->", PAGE.read_text())
    assert sorted(named) == sorted(estimators_report.TABLES)


def test_axis_moves_one_group() -> None:
    ray, batch = a_step(Softmax())
    matrix = ray.exact(batch)[1]
    for k in range(ray.groups):
        moved = ray.gradient(plans.axis(ray.groups, k, [1e-4])[0], [batch]) - ray.gradient([0.0] * ray.groups, [batch])
        torch.testing.assert_close(moved / 1e-4, matrix[k], rtol=1e-2, atol=1e-7)
