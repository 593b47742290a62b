import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hidlr.reports.thin import running_mean, thin

values = arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6) | st.just(float("nan")))


@given(values, st.integers(1, 20))
def test_extremes_and_ends_stay(y: np.ndarray, buckets: int) -> None:
    x = np.arange(len(y), dtype=np.float64)
    thin_x, thin_y = thin(x, y, buckets)
    assert len(thin_x) <= max(2 * buckets + 2, 3 * buckets)
    assert (np.diff(thin_x) > 0).all()
    np.testing.assert_array_equal(thin_y, y[thin_x.astype(int)])
    if np.isfinite(y).any():
        assert np.nanmax(thin_y) == np.nanmax(y)
        assert np.nanmin(thin_y) == np.nanmin(y)
        seen = x[np.isfinite(y)]
        kept = thin_x[np.isfinite(thin_y)]
        assert (kept[0], kept[-1]) == (seen[0], seen[-1])


def test_extremes_of_every_stretch_stay() -> None:
    x = np.arange(1000.0)
    y = np.sin(x)
    y[[123, 456]] = 7, -7
    thin_x, _ = thin(x, y, 10)
    assert {123, 456} <= set(thin_x)


def test_short_curves_come_back_whole() -> None:
    x = np.arange(8.0)
    np.testing.assert_array_equal(thin(x, x, 4)[1], x)


def test_a_stretch_of_nothing_breaks_the_line() -> None:
    x = np.arange(100.0)
    y = np.where((x >= 40) & (x < 60), np.inf, x)
    thin_x, thin_y = thin(x, y, 10)
    assert np.isnan(thin_y[(thin_x > 40) & (thin_x < 59)]).all()
    assert np.isnan(thin_y).any()


def test_repeated_steps() -> None:
    assert len(thin(np.zeros(50), np.arange(50.0), 5)[0]) >= 2


def test_running_mean_skips_what_is_not_finite() -> None:
    y = np.array([1.0, np.inf, 3.0, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(running_mean(y, 3), [1, 2, 3, 3, np.nan, np.nan])
