import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hidlr.reports.agreement import agreement_sentence, rank_correlation
from hidlr.reports.curves import Curve
from hidlr.reports.figures import Line, Panel, line_figure
from hidlr.reports.parabolas import draw_parabolas
from hidlr.reports.readings import readings
from hidlr.reports.tables import command_of
from hidlr.reports.theme import INK, NARROW, WIDE


def panel(**options: bool) -> Panel:
    x = np.arange(4.0)
    behind = Line("behind", x, np.array([1.0, 2.0, 3.0, 4.0]), None)
    front = Line("front", x, np.array([0.123456, math.nan, 1e-9, -2.0]), 9)
    return Panel("height (m), log scale", (behind, front), **options)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_what_is_drawn_can_be_read(size) -> None:
    (found,) = json.loads(readings(line_figure([panel()], size, INK)))
    assert found["x"][0] == "step"
    assert found["y"][0] == "height (m)"
    front, behind = found["lines"]
    assert front == {"name": "front", "color": "c1", "dashed": True, "x": [0, 2, 3], "y": [0.1235, 1e-9, -2]}
    assert behind == {"name": "behind", "color": "", "dashed": False, "x": [0, 1, 2, 3], "y": [1, 2, 3, 4]}
    left, top, width, height = found["box"]
    assert 0 < left < left + width < 100
    assert 0 < top < top + height < 100


def test_on_a_log_scale_only_what_it_can_show() -> None:
    (found,) = json.loads(readings(line_figure([panel(log=True)], WIDE, INK)))
    assert found["y"][3] is True
    assert found["lines"][0]["y"] == [0.1235, 1e-9]


def test_panels_lie_where_they_are_drawn() -> None:
    boxes = [entry["box"] for entry in json.loads(readings(line_figure([panel()] * 3, WIDE, INK, columns=2)))]
    assert boxes[0][0] == boxes[2][0] < 50 < boxes[1][0]
    assert boxes[0][1] == boxes[1][1] < 50 < boxes[2][1]


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=12))
def test_rank_correlation_is_that_of_pairwise_ranks(pairs: list[tuple[int, int]]) -> None:
    # A rank as the number of values below, and half of those that are equal.
    ranks = [[sum((b < a) + (b == a) / 2 for b in values) for a in values] for values in zip(*pairs, strict=True)]
    found = rank_correlation(*zip(*pairs, strict=True))
    if any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        assert math.isnan(found)
    else:
        assert found == pytest.approx(statistics.correlation(*ranks))


def test_agreement_needs_groups_in_common() -> None:
    one = {"a": 1.0, "b": 2.0, "c": 3.0, "d": math.nan}
    assert agreement_sentence([one, {"a": 1.0, "b": 2.0, "d": 3.0}]) == ""
    assert agreement_sentence([one]) == ""
    turned = {"a": 3.0, "b": 2.0, "c": 1.0}
    assert "from -1.00 to 1.00 over 3 pairs of runs." in agreement_sentence([one, turned, {**one, "d": 1.0}])


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/opt/env/bin/hidlr", "train", "my digits"], "hidlr train 'my digits'"),
        (["/opt/lib/hidlr/__main__.py", "train"], "hidlr train"),
        (["train.py", "--lr", "1"], "train.py --lr 1"),
        ("typed by hand", "typed by hand"),
        ([], ""),
        (None, ""),
    ],
)
def test_a_command_is_told_as_it_would_be_typed(argv: object, command: str) -> None:
    assert command_of({"argv": argv}) == command


def test_a_parabola_is_read_as_far_as_it_is_in_the_picture() -> None:
    # The measurements set the height; the parabola of a slope far too steep leaves it.
    curve = Curve("a", (0.0, 1.0), (2.0, 1.9), 2.0, slope=9.0, curvature=9.0, best_rate=None, reason="")
    (found,) = json.loads(readings(draw_parabolas([curve], WIDE, INK)))
    lines = {line["name"]: line for line in found["lines"]}
    assert lines["measured"]["y"] == [0, -0.1]
    assert 0 < len(lines["parabola"]["y"]) < 80
    _, low, high, _ = found["y"]
    assert all(low <= value <= high for value in lines["parabola"]["y"])
