import math
import sys

import pytest

from hidlr.errors import InputError, MissingExtraError
from hidlr.history import GroupRecord, StepRecord
from hidlr.reports import Curve, parabola_figure
from hidlr.reports.curves import last_curves
from support.report_runs import record


def quadratic(rate: float) -> float:
    return 5.0 - 2.0 * rate + 0.5 * 8.0 * rate**2


def probe(points: list[tuple[float, ...]], *, accepted: bool = True) -> StepRecord:
    """Two groups at rate 0.1; the loss follows the first along its axis."""
    groups = (
        GroupRecord("a", 3, 0.1, 0.2, 2.0, 8.0, 0.0, accepted, "" if accepted else "not convex"),
        GroupRecord("b", 3, 0.1, 0.2),
    )
    return StepRecord(7, "", groups, tuple(points), tuple(quadratic(0.1 * xi[0]) + xi[1] for xi in points))


def test_points_along_an_axis_lie_on_the_recorded_parabola() -> None:
    found = last_curves([probe([(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (1.0, 1.0)])])
    assert list(found) == ["a"]
    step, curve = found["a"]
    assert step == 7
    assert curve.rates == pytest.approx((0.0, 0.1, -0.1))
    assert curve.base_loss == 5.0
    assert curve.best_rate == 0.25
    for rate, loss in zip(curve.rates, curve.losses, strict=True):
        assert loss == pytest.approx(curve.base_loss + curve.change(rate))


def test_without_a_point_at_the_start_the_fit_gives_it() -> None:
    _, curve = last_curves([probe([(1.0, 0.0), (2.0, 0.0)])])["a"]
    assert curve.base_loss == pytest.approx(5.0)


def test_a_refused_fit_has_no_minimum() -> None:
    _, curve = last_curves([probe([(1.0, 0.0)], accepted=False)])["a"]
    assert (curve.best_rate, curve.reason) == (None, "not convex")


def test_the_last_probe_counts_and_joint_points_do_not() -> None:
    records = [record(0, points=True), record(10, points=True), record(20)]
    assert {step for step, _ in last_curves(records).values()} == {10}
    assert last_curves([probe([(1.0, 1.0)])]) == {}
    assert last_curves([]) == {}


def test_a_figure_has_a_panel_for_each_curve() -> None:
    curves = [curve for _, curve in last_curves([record(0, points=True)]).values()]
    figure = parabola_figure(curves)
    assert len(figure.axes) == len(curves)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {curve.name for curve in curves} <= texts


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, 1e300])
def test_a_figure_of_extreme_numbers_can_be_drawn(value: float) -> None:
    wild = Curve("$\\frac{$ <x>\n", (0.0, 1.0, value), (1.0, value, 2.0), value, value, value, value, "")
    figure = parabola_figure([wild, Curve("none", (), (), 1.0, 1.0, 1.0, None, "")])
    figure.canvas.draw()
    assert len(figure.axes) >= 2


def test_no_curves_is_an_error() -> None:
    with pytest.raises(InputError, match="no curves"):
        parabola_figure([])


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"hidlr\[plot\]"):
        parabola_figure([Curve("a", (1.0,), (1.0,), 1.0, 1.0, 1.0, 1.0, "")])
