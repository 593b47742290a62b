import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from hidlr import plans
from hidlr.errors import InputError
from hidlr.fit import QuadraticFit, fit_diagonal, fit_full, line_curvature
from support.quadratic import random_spd, random_vector

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def float64s(*values):
    return torch.tensor(values, dtype=torch.float64)


def losses(points, slope, curvature, base):
    xi = torch.tensor(points, dtype=torch.float64)
    return (base - xi @ slope + ((xi @ curvature) * xi).sum(1) / 2).tolist()


def test_one_group_by_hand():
    # L = 1 - 2 xi + 3 xi^2: 2 at 1, 6 at -1, 9 at 2.
    fit = fit_diagonal([(1.0,), (-1.0,), (2.0,)], [2.0, 6.0, 9.0], 1.0)
    torch.testing.assert_close(fit.slope, float64s(2.0), **EXACT)
    torch.testing.assert_close(fit.curvature, float64s(6.0)[:, None], **EXACT)
    assert fit.r2 == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(fit.minimiser(), float64s(1 / 3), **EXACT)


def test_r2_by_hand():
    # A straight line and a parabola through 0 at xi = -1, 1, 2, 3 with losses 1, 1, 0, 0: normal equations of
    # [-xi, xi^2 / 2] are [[15, -17.5], [-17.5, 24.75]] (b, A) = [0, 1], so b = 17.5 / 65, A = 15 / 65.
    fit = fit_diagonal([(-1.0,), (1.0,), (2.0,), (3.0,)], [1.0, 1.0, 0.0, 0.0], 0.0)
    b, a = 17.5 / 65, 15 / 65
    torch.testing.assert_close(fit.slope, float64s(b), **EXACT)
    torch.testing.assert_close(fit.curvature, float64s(a)[:, None], **EXACT)
    residual = [1 - b - a / 2, 1 + b - a / 2, 2 * b - 2 * a, 3 * b - 4.5 * a]
    # The losses' own variation around their mean 0.5 is 4 * 0.25 = 1.
    assert fit.r2 == pytest.approx(1 - sum(r * r for r in residual), abs=1e-12)
    assert fit.r2 < 0.1


def test_flat_losses_are_explained_entirely():
    fit = fit_diagonal([(1.0,), (-1.0,)], [2.0, 2.0], 2.0)
    assert fit.slope.tolist() == [0.0]
    assert fit.r2 == 1.0


@given(st.integers(1, 6), st.integers(0, 1000))
def test_full_recovers_everything(groups, seed):
    slope, curvature = random_vector(groups, seed), random_spd(groups, seed)
    points = plans.full(groups, [0.5 + k for k in range(groups)])
    fit = fit_full(points, losses(points, slope, curvature, 1.5), 1.5)
    torch.testing.assert_close(fit.slope, slope, **EXACT)
    torch.testing.assert_close(fit.curvature, curvature, **EXACT)
    torch.testing.assert_close(fit.minimiser(), torch.linalg.inv(curvature) @ slope, rtol=1e-8, atol=1e-10)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_diagonal_recovers_uncoupled_groups_from_random_points(groups, seed):
    slope, diagonal = random_vector(groups, seed), random_spd(groups, seed).diagonal()
    points = plans.gaussian(groups, 4 * groups, [1.0] * groups, seed)
    fit = fit_diagonal(points, losses(points, slope, diagonal.diag(), -2.0), -2.0)
    torch.testing.assert_close(fit.slope, slope, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(fit.curvature, diagonal.diag(), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(fit.minimiser(), slope / diagonal, rtol=1e-7, atol=1e-9)


def test_axis_points_see_no_cross_terms():
    slope, curvature = random_vector(4, 1), random_spd(4, 1)
    points = [point for k in range(4) for point in plans.axis(4, k, [0.7, -0.7])]
    fit = fit_diagonal(points, losses(points, slope, curvature, 0.0), 0.0)
    torch.testing.assert_close(fit.slope, slope, **EXACT)
    torch.testing.assert_close(fit.curvature, curvature.diagonal().diag(), **EXACT)


def test_probes_of_very_different_sizes():
    slope, diagonal = float64s(3.0, 4e-4), float64s(2e6, 5e-8)
    sizes = [1e-5, 1e3]
    points = [point for k in range(2) for point in plans.axis(2, k, [sizes[k], -sizes[k]])]
    fit = fit_diagonal(points, losses(points, slope, diagonal.diag(), 0.0), 0.0)
    torch.testing.assert_close(fit.slope, slope, rtol=1e-10, atol=0)
    torch.testing.assert_close(fit.curvature.diagonal(), diagonal, rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("slope", "curvature", "expected"),
    [
        ((2.0, 3.0), ((4.0, 0.0), (0.0, 6.0)), (0.5, 0.5)),
        ((2.0, 3.0), ((-4.0, 0.0), (0.0, 6.0)), (float("nan"), 0.5)),
        ((2.0, 3.0), ((0.0, 0.0), (0.0, 6.0)), (float("nan"), 0.5)),
        # [[2, 1], [1, 2]] (x, y) = (4, 5): x = 1, y = 2.
        ((4.0, 5.0), ((2.0, 1.0), (1.0, 2.0)), (1.0, 2.0)),
        # Indefinite, though its diagonal is positive: determinant 1 - 4.
        ((4.0, 5.0), ((1.0, 2.0), (2.0, 1.0)), (float("nan"), float("nan"))),
    ],
)
def test_minimiser(slope, curvature, expected):
    fit = QuadraticFit(float64s(*slope), torch.tensor(curvature, dtype=torch.float64), 1.0)
    torch.testing.assert_close(fit.minimiser(), float64s(*expected), rtol=1e-12, atol=0, equal_nan=True)


@pytest.mark.parametrize("size", [0.5, 1.0, -2.0, 30.0])
def test_line_curvature_from_a_known_slope(size):
    # L = 1 - 2 h + 3 h^2, so b = 2 and A = 6 wherever it is measured.
    assert line_curvature(size, 2 * size - 3 * size**2, 2.0) == pytest.approx(6.0, rel=1e-12)


@pytest.mark.parametrize("fit", [fit_diagonal, fit_full])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_named(fit, bad):
    with pytest.raises(InputError, match=f"finite.*{bad}"):
        fit([(1.0,), (-1.0,)], [bad, 1.0], 0.0)


def test_too_few_points_say_how_many_unknowns():
    with pytest.raises(InputError, match="3 points do not determine 4 unknowns: add points"):
        fit_diagonal([(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0)], [1.0, 1.0, 1.0], 0.0)


def test_points_that_leave_a_group_out_are_not_enough():
    with pytest.raises(InputError, match="add points that move every group"):
        fit_diagonal([(1.0, 0.0), (-1.0, 0.0), (2.0, 0.0), (3.0, 0.0)], [1.0] * 4, 0.0)


def test_full_needs_the_pairs():
    points = [point for k in range(2) for point in plans.axis(2, k, [1.0, -1.0, 2.0])]
    with pytest.raises(InputError, match="6 points do not determine 5 unknowns"):
        fit_full(points, [1.0] * 6, 0.0)
