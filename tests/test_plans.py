import pytest
import torch

from hidlr import plans


def test_along_multiplies_the_direction():
    assert plans.along([1.0, -2.0, 0.0], [0.5, 2.0]) == [(0.5, -1.0, 0.0), (2.0, -4.0, 0.0)]


def test_axis_moves_one_group():
    assert plans.axis(3, 2, [0.5, -4.0]) == [(0.0, 0.0, 0.5), (0.0, 0.0, -4.0)]


def test_full_for_two_groups():
    assert set(plans.full(2, [0.5, 3.0])) == {(0.5, 0.0), (-0.5, 0.0), (0.0, 3.0), (0.0, -3.0), (0.5, 3.0)}


@pytest.mark.parametrize("groups", [1, 2, 3, 7, 12])
def test_full_has_one_point_per_unknown(groups):
    # K slopes, K diagonal entries, K (K - 1) / 2 others.
    points = plans.full(groups, [1.0] * groups)
    assert len(points) == 2 * groups + groups * (groups - 1) // 2
    assert len(set(points)) == len(points)


def test_gaussian_is_seeded_and_scaled(isolated):
    points = plans.gaussian(3, 4000, [1.0, 0.1, 0.0], seed=7)
    assert points == plans.gaussian(3, 4000, [1.0, 0.1, 0.0], seed=7)
    assert points != plans.gaussian(3, 4000, [1.0, 0.1, 0.0], seed=8)
    xi = torch.tensor(points, dtype=torch.float64)
    # Of 4000 draws the mean is within 4 / sqrt(4000) sd, the sd within 4 / sqrt(8000), barring 1 in 10^4.
    torch.testing.assert_close(xi.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.064)
    torch.testing.assert_close(xi.std(0), torch.tensor([1.0, 0.1, 0.0], dtype=torch.float64), rtol=0.045, atol=0)
    torch.testing.assert_close(xi.T.corrcoef()[0, 1], torch.tensor(0.0, dtype=torch.float64), rtol=0, atol=0.064)


def test_gaussian_ignores_the_global_seed():
    first = plans.gaussian(2, 3, [1.0, 1.0], seed=0)
    torch.manual_seed(99)
    assert plans.gaussian(2, 3, [1.0, 1.0], seed=0) == first


def test_no_negative_zeros():
    # They would print and hash apart from the zeros of other plans.
    for point in [*plans.axis(2, 0, [-1.0]), *plans.full(3, [1.0] * 3), *plans.along([0.0, 1.0], [-2.0])]:
        assert not any(str(xi) == "-0.0" for xi in point)
