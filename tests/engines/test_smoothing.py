import json
import math

import pytest

from hidlr.engines.smoothing import Average, Parabola


def test_average_by_hand():
    average = Average(0.9)
    assert math.isnan(average.value)
    assert average.add(1.0) == pytest.approx(1.0, rel=1e-15)
    # (0.9 * 0.1 * 1 + 0.1 * 2) / (0.9 * 0.1 + 0.1) = 0.29 / 0.19
    assert average.add(2.0) == pytest.approx(0.29 / 0.19, rel=1e-15)
    assert average.value == pytest.approx(0.29 / 0.19, rel=1e-15)


def test_no_past_at_all():
    average = Average(0.0)
    average.add(5.0)
    assert average.add(7.0) == 7.0


def test_minimum_is_the_ratio_of_averages_not_the_average_of_ratios():
    parabola = Parabola(0.5)
    parabola.add(1.0, 1.0)
    parabola.add(1.0, 4.0)
    # Weights 0.25 and 0.5: slope 0.75 / 0.75, curvature (0.25 + 2) / 0.75 = 3; ratios would give 0.5.
    assert parabola.minimum == pytest.approx(1 / 3, rel=1e-15)


@pytest.mark.parametrize(("slope", "curvature"), [(1.0, -1.0), (-1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_no_minimum(slope, curvature):
    parabola = Parabola(0.9)
    assert math.isnan(parabola.minimum)
    parabola.add(slope, curvature)
    assert math.isnan(parabola.minimum)


def test_state_goes_through_json():
    parabola = Parabola(0.9)
    parabola.add(0.1, 0.3)
    parabola.add(1.7, 2.9)
    other = Parabola(0.9)
    other.load_state_dict(json.loads(json.dumps(parabola.state_dict())))
    assert other.minimum == parabola.minimum
    parabola.add(3.0, 4.0)
    other.add(3.0, 4.0)
    assert other.minimum == parabola.minimum
