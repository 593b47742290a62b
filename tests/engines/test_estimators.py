import pytest
import torch

from hidlr.displacement import Displacement
from hidlr.engines import AxisEstimator, FullEstimator, RandomEstimator
from hidlr.probe import Probe
from support.engines import parabola, view
from support.quadratic import quadratic

SIZES = (3, 5, 2, 4)
EXACT = {"rtol": 1e-10, "atol": 1e-10}
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.1),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda groups: torch.optim.Adam(groups, lr=0.1),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5),
}


def after_three_steps(optimizer_name, *, coupled):
    """A quadratic, its displacement by the third step, and b and A of it in closed form."""
    model = quadratic(SIZES, coupled=coupled)
    optimizer = OPTIMIZERS[optimizer_name](model.groups([0.1, 0.03, 0.2, 0.5]))
    for _ in range(3):
        optimizer.zero_grad()
        model().backward()
        displacement = Displacement([[part] for part in model.parts])
        start = model.vector().detach()
        optimizer.step()
    move = model.vector().detach() - start
    slope, curvature = model.model(start, move)
    return model, displacement, slope, curvature


def estimate(estimator, model, displacement):
    with Probe(displacement, model, model.parameters()) as probe:
        (base,) = probe.measure([(0.0,) * len(SIZES)])
        fit = estimator.estimate(view(rates=[1.0] * len(SIZES), base=base), probe.measure)
    assert probe.forwards == 1 + estimator.points(len(SIZES))
    return fit


@pytest.mark.parametrize("size", [1.0, 0.1, 10.0])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_axis_finds_slope_and_diagonal_whatever_the_coupling(name, size):
    model, displacement, slope, curvature = after_three_steps(name, coupled=True)
    fit = estimate(AxisEstimator(size), model, displacement)
    torch.testing.assert_close(fit.slope, slope, **EXACT)
    torch.testing.assert_close(fit.curvature, curvature.diagonal().diag(), **EXACT)
    torch.testing.assert_close(fit.minimiser(), slope / curvature.diagonal(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_random_finds_slope_and_diagonal_of_uncoupled_groups(name):
    model, displacement, slope, curvature = after_three_steps(name, coupled=False)
    fit = estimate(RandomEstimator(), model, displacement)
    torch.testing.assert_close(fit.slope, slope, **EXACT)
    torch.testing.assert_close(fit.curvature, curvature, **EXACT)
    torch.testing.assert_close(fit.minimiser(), slope / curvature.diagonal(), rtol=1e-9, atol=1e-9)
    assert fit.r2 == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_full_finds_the_whole_matrix_and_its_minimiser(name):
    model, displacement, slope, curvature = after_three_steps(name, coupled=True)
    assert curvature.triu(1).abs().max() > 1e-3  # coupled indeed
    fit = estimate(FullEstimator(), model, displacement)
    torch.testing.assert_close(fit.slope, slope, **EXACT)
    torch.testing.assert_close(fit.curvature, curvature, **EXACT)
    torch.testing.assert_close(fit.minimiser(), torch.linalg.solve(curvature, slope), rtol=1e-8, atol=1e-9)


def test_slopes_agree_with_the_gradient_in_hand():
    _, displacement, slope, _ = after_three_steps("adamw", coupled=True)
    torch.testing.assert_close(torch.tensor(displacement.slopes(), dtype=torch.float64), slope, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("estimator", "points"),
    [(AxisEstimator(), 2 * 5), (RandomEstimator(), 4 * 5), (RandomEstimator(per_group=6), 30), (FullEstimator(), 20)],
)
def test_number_of_points(estimator, points):
    assert estimator.points(5) == points


def test_random_with_one_group_is_the_parabola_through_three_points():
    asked = []
    RandomEstimator().estimate(view(rates=[1.0]), lambda points: asked.extend(points) or [1.0, 2.0])
    assert sorted(asked) == [(-1.0,), (1.0,)]
    assert RandomEstimator().points(1) == 2


def test_random_points_are_new_at_each_step_and_repeat_with_the_seed(isolated):
    def asked(seed, step):
        points = []
        measure = parabola([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]])
        RandomEstimator(seed=seed).estimate(
            view(rates=[1.0, 1.0], step=step), lambda new: points.extend(new) or measure(new)
        )
        return points

    assert asked(0, 0) == asked(0, 0)
    assert asked(0, 0) != asked(0, 1)
    assert asked(0, 0) != asked(1, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("estimator", [AxisEstimator(), RandomEstimator(), FullEstimator()])
def test_a_loss_that_is_not_finite_spoils_the_fit_but_raises_nothing(estimator, bad):
    def measure(points):
        return [1.5] * (len(points) - 1) + [bad]

    fit = estimator.estimate(view(rates=[1.0, 1.0]), measure)
    assert not fit.minimiser().isfinite().all()
    assert not fit.slope.isfinite().all()


@pytest.mark.parametrize("estimator", [AxisEstimator(), RandomEstimator(), FullEstimator()])
@pytest.mark.parametrize("still", ["rate 0", "no gradient"])
def test_groups_that_did_not_move_cost_nothing_and_spoil_nothing(estimator, still):
    asked = []
    slopes, curvature = [1.0, 9.0, 4.0], [[2.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 3.0]]
    seen = (
        view(rates=[1.0, 0.0, 1.0], slopes=slopes)
        if still == "rate 0"
        else view(rates=[1.0] * 3, slopes=[1.0, float("nan"), 4.0])
    )
    measure = parabola(slopes, curvature)
    fit = estimator.estimate(seen, lambda points: asked.extend(points) or measure(points))
    assert len(asked) == estimator.points(2)
    assert {point[1] for point in asked} == {0.0}
    torch.testing.assert_close(
        fit.minimiser(), torch.tensor([0.5, float("nan"), 4 / 3], dtype=torch.float64), **EXACT, equal_nan=True
    )


def test_full_solves_the_moving_groups_beside_a_still_one():
    # [[2, 1], [1, 2]] (x, y) = (4, 5): x = 1, y = 2.
    measure = parabola([4.0, 0.0, 5.0], [[2.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    fit = FullEstimator().estimate(view(rates=[1.0, 0.0, 1.0]), measure)
    torch.testing.assert_close(
        fit.minimiser(), torch.tensor([1.0, float("nan"), 2.0], dtype=torch.float64), **EXACT, equal_nan=True
    )


@pytest.mark.parametrize("estimator", [AxisEstimator(), RandomEstimator(), FullEstimator()])
def test_nothing_moved(estimator):
    fit = estimator.estimate(view(rates=[0.0, 0.0]), parabola([1.0, 1.0], [[1.0, 0.0], [0.0, 1.0]]))
    assert fit.slope.isnan().all()
    assert fit.minimiser().isnan().all()
