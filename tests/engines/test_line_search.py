import math

import pytest

from hidlr.engines import search_line

EPS = 2.0**-52


def along(loss):
    """Losses on a line of one group, counting how many were asked for."""
    asked = []

    def measure(points):
        asked.extend(points)
        return [loss(point[0]) for point in points]

    return measure, asked


@pytest.mark.parametrize("exponent", range(-10, 9))
def test_the_minimum_of_a_parabola_from_any_unit(exponent):
    # L = 2 - b c + A c^2 / 2 with its minimum at c = 0.8 * 10^exponent, where it is 1.
    best = 0.8 * 10.0**exponent
    curvature = 2 / best**2
    slope = curvature * best
    measure, asked = along(lambda c: 2 - slope * c + curvature * c * c / 2)
    found = search_line(measure, [1.0], slope, 2.0, 2 * EPS)
    assert found is not None
    assert len(asked) <= 16
    assert found.minimum == pytest.approx(best, rel=1e-6)
    assert found.slope_ratio == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("clipped", [0.5, 1e-2, 1e-4])
def test_a_slope_that_is_too_small_is_noticed(clipped):
    measure, _ = along(lambda c: 2 - 3 * c + 2 * c * c)
    found = search_line(measure, [1.0], 3 * clipped, 2.0, 2 * EPS)
    assert found.minimum == pytest.approx(0.75, rel=1e-6)
    assert found.slope == pytest.approx(3.0, rel=1e-6)
    assert found.slope_ratio == pytest.approx(1 / clipped, rel=1e-6)


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan")])
def test_no_descent_no_search(slope):
    measure, asked = along(lambda c: 1.0 - c)
    assert search_line(measure, [1.0], slope, 1.0, EPS) is None
    assert asked == []


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda c: 1 - c, id="a straight line"),
        pytest.param(lambda c: 1 - c - c * c, id="concave"),
        pytest.param(lambda c: float("nan"), id="nan"),
        pytest.param(lambda c: 1.0, id="flat"),
        pytest.param(lambda c: math.copysign(math.inf, c), id="infinite"),
    ],
)
def test_what_has_no_minimum_is_given_up(loss):
    measure, asked = along(loss)
    assert search_line(measure, [1.0], 1.0, 1.0, EPS) is None
    assert len(asked) <= 16


def test_beyond_the_domain():
    # -log(1 - c) - 2 c: slope 1 at 0, curvature 1 at 0, lowest at 1/2, infinite from 1 on.
    measure, _ = along(lambda c: -math.log(1 - c) - 2 * c if c < 1 else math.inf)
    found = search_line(measure, [1.0], 1.0, 0.0, EPS)
    assert 0.25 < found.minimum < 1


def test_a_quartic_valley():
    # (c - 1)^4: lowest at 1; parabolas nearby point there from either side.
    measure, _ = along(lambda c: (c - 1) ** 4)
    found = search_line(measure, [1.0], 4.0, 1.0, EPS)
    assert 0.4 < found.minimum < 1.6


@pytest.mark.parametrize("unit", [1e-3, 1e-1, 1.0, 30.0, 1e4])
def test_a_parabola_is_believed_near_its_own_minimum_only(unit):
    # sqrt(1 + (c / u - 1)^2) is lowest at u, but from 0 its slope and curvature point to 2 u.
    measure, _ = along(lambda c: math.sqrt(1 + (c / unit - 1) ** 2))
    found = search_line(measure, [1.0], 1 / (unit * math.sqrt(2)), math.sqrt(2), 2 * EPS)
    assert 0.6 < found.minimum / unit < 1.6


def test_the_direction_is_followed():
    points = []

    def measure(new):
        points.extend(new)
        return [(c - 1) ** 2 for _, c, _ in new]

    found = search_line(measure, [0.0, 1.0, -2.0], 2.0, 1.0, EPS)
    assert found.minimum == pytest.approx(1.0, rel=1e-9)
    assert all(a == 0 and c == -2 * b for a, b, c in points)


def test_a_loss_that_bends_down_first_and_up_steeply_later():
    # 1 - c^2 + c^4 / 4 - c / 10: concave up to sqrt(2/3), lowest near 1.44; parabolas through its points
    # are concave short of it and far off beyond it, so that steps out and in would pass it by for ever.
    measure, asked = along(lambda c: 1 - c * c + c**4 / 4 - c / 10)
    found = search_line(measure, [1.0], 0.1, 1.0, EPS)
    assert found is not None
    assert 0.9 < found.minimum < 2.2
    assert len(asked) <= 16


def test_the_slope_ratio_is_that_near_the_start():
    # As many parameters one step of which is far below the valley: the parabola near the minimum is steeper.
    measure, _ = along(lambda c: 10 - 0.01 * c - 1e-4 * c * c + 1e-9 * c**4)
    found = search_line(measure, [1.0], 0.01, 10.0, EPS)
    assert found.slope_ratio == pytest.approx(1.0, abs=0.05)
