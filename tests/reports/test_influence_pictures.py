import math
import re

import numpy as np
import pytest

import hidlr
from hidlr.groups import Place
from hidlr.history import GroupRecord, StepRecord
from hidlr.influence import Influence
from hidlr.reports import heat_figure, share_figure, write_report
from hidlr.reports.heatmap import draw_heat_maps, grid_of
from hidlr.reports.series import influence_over_time, series_of
from hidlr.reports.shares import shares_of
from hidlr.reports.svg import to_svg
from hidlr.reports.theme import INK, NARROW, WIDE
from support.report_runs import Writer, record


def influence(groups: dict[str, tuple[int, float]], **extras: dict) -> Influence:
    """Each group from its size and total."""
    return Influence(
        ppi={name: 2 * total / size for name, (size, total) in groups.items()},
        total={name: total for name, (_, total) in groups.items()},
        sizes={name: size for name, (size, _) in groups.items()},
        measured=dict.fromkeys(groups, 1),
        refused=dict.fromkeys(groups, 0),
        **extras,
    )


FINE = influence(
    {"layer_0/norm": (4, 8.0), "layer_10/norm": (4, 2.0), "layer_2/mlp": (100, 1.0), "head/head": (10, 1.0)}
)


def test_cells_are_roles_and_layers_in_order() -> None:
    grid = grid_of(FINE)
    assert grid is not None
    assert grid.rows == ("mlp", "norm", "head")
    assert grid.columns == ("layer_0", "layer_2", "layer_10", "head")
    assert grid.ppi["norm", "layer_0"] == 4.0


def test_groups_that_share_a_cell_are_taken_together() -> None:
    places = {f"blocks.0.{k}.weight": Place("norm", "layer_0", 0.5) for k in ("a", "b")}
    places["head.weight"] = Place("head", "head")
    members = {"one": ("blocks.0.a.weight", "blocks.0.b.weight"), "head.weight": ("head.weight",)}
    grid = grid_of(influence({"one": (8, 2.0), "head.weight": (2, 2.0)}, members=members, places=places))
    assert grid is not None
    assert grid.ppi == {("norm", "layer_0"): 0.5, ("head", "head"): 2.0}
    members = {name: (name,) for name in places}
    grid = grid_of(influence(dict.fromkeys(places, (2, 1.0)), members=members, places=places))
    assert grid is not None
    assert set(grid.rows) == {"a.weight", "b.weight", "head"}


def test_groups_over_several_layers_have_no_map() -> None:
    assert grid_of(influence({"norm": (4, 1.0), "mlp": (4, 1.0)})) is None
    places = {"a": Place("norm", "layer_0", 0.25), "b": Place("norm", "layer_1", 0.75)}
    assert grid_of(influence({"norm": (4, 1.0)}, members={"norm": ("a", "b")}, places=places)) is None
    with pytest.raises(hidlr.InputError, match="role_layer"):
        heat_figure({"run": influence({"norm": (4, 1.0)})})
    with pytest.raises(hidlr.InputError, match="usable"):
        share_figure({"run": influence({})})


def test_the_lowest_is_faint_and_the_highest_dark() -> None:
    grid = grid_of(FINE)
    assert grid is not None
    figure = draw_heat_maps({"": grid}, WIDE, INK)
    alphas = {patch.get_label(): patch.get_alpha() for patch in figure.axes[0].patches}
    assert min(alphas, key=alphas.__getitem__) == "mlp, layer_2: 0.020"
    assert max(alphas, key=alphas.__getitem__) == "norm, layer_0: 4.0"
    # Halfway in the logarithm is halfway in the shade.
    middle = (math.log10(0.2) - math.log10(0.02)) / (math.log10(4.0) - math.log10(0.02))
    assert alphas["head, head: 0.20"] == pytest.approx(0.06 + 0.94 * middle)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_colours_come_from_the_page(size) -> None:
    grid = grid_of(FINE)
    assert grid is not None
    text = to_svg(draw_heat_maps({"a<b>": grid, "other": grid}, size, INK), "x-", "map", size.name)
    assert "var(--c0)" in text
    assert not re.search(r"#[0-9a-f]{6}", text)
    assert "<title>norm, layer_0: 4.0</title>" in text
    assert "a&lt;b&gt;" in text


def test_shares_add_up_from_the_highest() -> None:
    shares = shares_of(FINE)
    assert shares is not None
    assert shares.names[:2] == ("layer_0/norm", "layer_10/norm")
    np.testing.assert_allclose(shares.parameters, np.cumsum([4, 4, 10, 100]) / 118)
    np.testing.assert_allclose(shares.influence, np.cumsum([8, 2, 1, 1]) / 12)
    assert shares.within(8 / 118) == pytest.approx(10 / 12)
    assert shares.within(0.01) == 0.0


def test_several_runs_share_a_picture() -> None:
    figure = share_figure({"first": FINE, "second": FINE}, budget=0.05)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["first", "second"]
    assert len(heat_figure({"first": FINE, "second": FINE}).axes) == 3


def test_influence_over_time_is_that_of_the_records_so_far() -> None:
    records = [
        StepRecord(k, "", (GroupRecord("a", 5, 1.0, 1.0, b, a, 0.0, True),))
        for k, (b, a) in enumerate([(1.0, 2.0), (-3.0, 1.0), (8.0, 3.0)])
    ]
    found = influence_over_time(series_of(records)["a"])
    for count in (1, 2, 3):
        expected = Influence.from_records(records[:count]).ppi.get("a", math.nan)
        assert found[count - 1] == pytest.approx(expected, nan_ok=True)


def test_the_page_has_them(write_run: Writer) -> None:
    names = ("layer_0/norm", "layer_0/mlp", "layer_1/norm", "layer_1/mlp", "head/head")
    text = write_report(write_run([record(step, names) for step in range(0, 60, 5)])).read_text()
    for words in ("by role and layer", "added up from the highest", "up to each step"):
        assert words in text


def test_the_page_of_coarse_groups_has_no_map(write_run: Writer) -> None:
    coarse = write_report(write_run([record(0, ("norm", "mlp"))])).read_text()
    assert "by role and layer" not in coarse
    assert "added up from the highest" in coarse
