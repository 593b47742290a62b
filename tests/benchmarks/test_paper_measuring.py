"""What the experiments measure, on problems whose answers are known."""

import math
from typing import Any

import pytest
import torch
from benchmarks.paper import diagonal, fig1, functions, xi
from benchmarks.paper.functions import Functions
from benchmarks.paper.influence import agreements, decades
from benchmarks.paper.lines import Watching, line, with_engine
from benchmarks.paper.lora_ratio import LoraRatio
from benchmarks.paper.runs import Runs
from benchmarks.paper.walk import measured, walk
from benchmarks.run import RunConfig
from toys import Line as Toy
from toys import config

from hidlr.engines import StepView
from hidlr.influence import Influence

B = torch.tensor([1.0, 2.0], dtype=torch.float64)
A = torch.tensor([[2.0, 1.0], [1.0, 8.0]], dtype=torch.float64)


def quadratic(points: Any) -> list[float]:
    found = []
    for point in points:
        at = torch.tensor(point, dtype=torch.float64)
        found.append(5.0 - float(B @ at) + float(at @ A @ at) / 2)
    return found


def view(base: float = 5.0) -> StepView:
    ones = torch.ones(2, dtype=torch.float64)
    return StepView(0, ("a", "b"), ones, ones, B, (1, 1), 1.0, base, 0.0)


# -- lines --------------------------------------------------------------------------------------------


def test_a_line_of_a_parabola_is_that_parabola() -> None:
    found = line(view(), quadratic, 1)
    assert found is not None
    assert (found.slope, found.curvature) == pytest.approx((2.0, 8.0))
    assert found.r2 == pytest.approx(1.0)
    assert found.xis[0] == pytest.approx(-0.25)  # the optimum is at 2/8
    assert found.xis[-1] == pytest.approx(0.5)
    assert found.parabola(0.25) == pytest.approx(5.0 - 0.25)


def test_a_line_that_is_no_parabola_is_told_by_r2() -> None:
    found = line(view(0.0), lambda points: [abs(point[0]) ** 0.3 for point in points], 0)
    assert found is not None
    assert found.r2 < 0.95
    row = {"xis": found.xis, "losses": found.losses, "slope": found.slope, "curvature": found.curvature}
    assert fig1._error(row) > 0.05


def test_a_line_that_leaves_the_finite_is_none() -> None:
    assert line(view(), lambda points: [math.inf] * len(points), 0) is None


def test_watching_changes_nothing() -> None:
    looked: list[int] = []
    engine = Watching([3, 7], lambda seen, measure: looked.append(len(measure([(0.5, 0.5), (2.0, 0.0)]))))
    toy, at = Toy(), config(rate=0.05, groups="apart")
    *_, watched = walk(at, toy, lambda c, w: with_engine(c, w, lambda names: engine))
    *_, plain = walk(at, toy)
    assert looked == [2, 2]
    for one, other in zip(watched.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_walk_ends_where_the_loss_does() -> None:
    moments = list(walk(config(rate=1e30), Toy()))
    assert moments[0].step == 0
    assert 1 < len(moments) < 41


# -- the diagonal -------------------------------------------------------------------------------------


def test_minimisers_of_a_known_model() -> None:
    found = diagonal.minimisers(B, A)
    torch.testing.assert_close(found["full"], torch.linalg.solve(A, B))
    torch.testing.assert_close(found["diagonal"], torch.tensor([0.5, 0.25], dtype=torch.float64))
    torch.testing.assert_close(found["one rate"], torch.full((2,), 3 / 12, dtype=torch.float64))
    # Each is the best of its kind: a step aside is worse.
    (best,) = quadratic([found["full"].tolist()])
    assert all(best < other for other in quadratic([(0.5, 0.25), (0.25, 0.25), (0.4, 0.2)]))


def test_where_there_is_no_minimum_none_is_given() -> None:
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    assert diagonal.minimisers(B, indefinite)["full"] is None
    falling = torch.tensor([[-1.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    # The group that is not convex stays where the step put it.
    torch.testing.assert_close(diagonal.minimisers(B, falling)["diagonal"], torch.tensor([1.0, 0.5]).double())


def test_the_look_at_a_quadratic_finds_all_of_it() -> None:
    rows: list[dict[str, Any]] = []
    diagonal._look(rows, view(), quadratic)
    (row,) = rows
    assert row["coupling"] == pytest.approx(1 / 4)
    gains = {kind: (5.0 - quadratic([xi_.tolist()])[0]) / 5 for kind, xi_ in diagonal.minimisers(B, A).items()}
    assert row["gain"] == pytest.approx(gains, rel=1e-4)
    verdict = diagonal.Diagonal().judge(Runs((task("digits-vit", {"moments": rows}),)))
    assert "the full minimiser's 1 times" in verdict.measured


def task(name: str, found: dict[str, Any], seed: int = 100) -> dict[str, Any]:
    return measured(RunConfig(f"{name}@10", "adamw", "uniform", seed, 1e-3, groups="role"), {"measured": found})


# -- the draws of xi ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_draws_have_the_deviation_they_are_named_by(kind: str) -> None:
    points = torch.tensor([point for seed in range(200) for point in xi.draw_points(kind, 3, 0.5, seed)])
    assert points.shape == (200 * 12, 3)
    assert points.std().item() == pytest.approx(0.5, rel=0.05)
    assert points.mean().item() == pytest.approx(0.0, abs=0.02)
    assert xi.draw_points(kind, 3, 0.5, 1) == xi.draw_points(kind, 3, 0.5, 1) != xi.draw_points(kind, 3, 0.5, 2)


def test_without_coupling_every_way_finds_the_optimum() -> None:
    rows: list[dict[str, Any]] = []

    def apart(points: Any) -> list[float]:
        return [5.0 - 1.0 * x - 2.0 * y + x * x + 4.0 * y * y for x, y in points]

    xi._look(rows, 0, view(), apart)
    assert len(rows) == 2 * (3 + 3 * 2 * xi._DRAWS)
    assert [row["ratio"] for row in rows] == pytest.approx([1.0] * len(rows), rel=1e-3)


def test_with_coupling_random_draws_do_not() -> None:
    rows: list[dict[str, Any]] = []
    xi._look(rows, 0, view(), quadratic)
    axis = [row["ratio"] for row in rows if row["kind"] == "axis"]
    normal = [row["ratio"] for row in rows if row["kind"] == "normal"]
    assert axis == pytest.approx([1.0] * 6, rel=1e-3)
    assert any(ratio is None or abs(ratio - 1) > 0.1 for ratio in normal)


# -- functions ----------------------------------------------------------------------------------------


def test_newton_reaches_the_ellipse_in_one_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "_STEPS", 20)
    from benchmarks.paper.finder import find

    settings = functions._METHODS["Hi-DLR, as printed"]
    at = RunConfig("ellipse@20", seed=100, rate=1e-3, schedule="constant", **settings)
    found = Functions().measure(at, find("ellipse@20"))
    assert found["metrics"]["iterations"] == 1
    sgd = RunConfig("ellipse@20", seed=100, rate=1e-3, schedule="constant", **functions._METHODS["SGD"])
    slow = Functions().measure(sgd, find("ellipse@20"))
    # By hand: x shrinks by 1 - 2 rate at each step, and that is the slower coordinate.
    x, y = slow["measured"]["way"][0]
    assert slow["metrics"]["iterations"] is None
    assert slow["metrics"]["loss"] == pytest.approx((x * 0.998**20) ** 2 + 100 * (y * 0.8**20) ** 2, rel=1e-2)
    runs = Runs((measured(at, found), measured(sgd, slow)))
    assert Functions().judge(runs).outcome == "holds in part"  # one function of three
    assert "| ellipse | Hi-DLR, as printed |  | 1 |" in Functions().table(runs)


# -- influence and ratios -----------------------------------------------------------------------------


def influence(**ppi: float) -> Influence:
    return Influence(ppi=ppi, total=ppi, sizes=dict.fromkeys(ppi, 1), measured={}, refused={})


def test_decades_and_rank_correlations() -> None:
    one, other, third = influence(a=1.0, b=10.0, c=1e4), influence(a=3.0, b=2.0, c=1.0), influence(a=1, b=2, c=3)
    assert decades(one) == pytest.approx(4)
    found = agreements({"x": [one, third], "y": [other]})
    assert found["x", "x"] == (pytest.approx(1.0), 3)
    assert found["x", "y"] == (pytest.approx(-1.0), 3)
    assert ("y", "y") not in found  # one seed agrees with nobody


def test_the_ratio_of_lora_is_read_from_the_tuned_rates() -> None:
    experiment = LoraRatio()
    config_ = RunConfig("glue-cola-lora@40", "adamw", "hidlr", 100, 1e-4, groups="lora")
    rates = {"lora_A": 1e-3, "lora_B": 1.6e-2, "head": 5e-4}
    runs = Runs((measured(config_, {"rates": rates, "metrics": {"test_loss": 0.6}}),))
    assert experiment.judge(runs).outcome == "holds"
    assert "| 16.00 | 16.00 | 0.50 |" in experiment.table(runs)
    lower = {**rates, "lora_B": 5e-4}
    assert experiment.judge(Runs((measured(config_, {"rates": lower, "metrics": {}}),))).outcome == "does not hold"
