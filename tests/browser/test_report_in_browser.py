from pathlib import Path

import pytest

from hidlr.history import History
from hidlr.reports import write_comparison, write_report
from support.browser_runs import EVIL, EXTREMES, extreme, layered, long, named, usual, write
from support.opened import Open
from support.report_runs import ROLES, record, rosenbrock

pytestmark = pytest.mark.browser

SPIKE = 54_321, 777.0
DIP = 43_200, 3.3e-5


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    one = usual(runs / "first")
    other = usual(runs / "second", factor=3.0, seed=1, metric=0.96)
    return write_comparison([one, other], runs / "comparison.html")


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(named(tmp_path_factory.mktemp("evil") / "run", EVIL))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(layered(tmp_path_factory.mktemp("many") / "run", groups=100, probes=150))


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(long(tmp_path_factory.mktemp("long") / "run", 100_000, spike=SPIKE, dip=DIP))


@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [
        ("page", 360, False),
        ("page", 1440, True),
        ("comparison", 360, True),
        ("comparison", 1440, False),
        ("evil", 360, False),
        ("many", 360, True),
        ("endless", 1440, False),
    ],
)
def test_a_page_opens_from_disk_and_holds_together(
    name: str, width: int, dark: bool, request: pytest.FixtureRequest, open_page: Open
) -> None:
    opened = open_page(request.getfixturevalue(name), width=width, dark=dark)
    opened.check_quiet()
    opened.check_fits()
    opened.check_contrast()
    opened.check_figures()


@pytest.mark.parametrize("width", [360, 1440])
def test_readings_do_not_make_the_page_wider(page: Path, open_page: Open, width: int) -> None:
    opened = open_page(page, width=width)
    for panel in opened.page.locator(".panel:visible").all():
        for x in (0.02, 0.98):
            opened.point_at(panel, x, 0.5)
            assert opened.reading()
            opened.check_fits()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["page", "comparison"])
def test_axe_has_no_complaint(name: str, dark: bool, request: pytest.FixtureRequest, open_page: Open) -> None:
    opened = open_page(request.getfixturevalue(name), dark=dark)
    opened.point_at(opened.panel("rates"), 0.5, 0.5)
    opened.check_accessible()


def test_dark_mode_turns_the_page_dark(page: Path, open_page: Open) -> None:
    assert min(open_page(page).background()) > 200
    assert max(open_page(page, dark=True).background()) < 50


def test_pointing_tells_the_values_of_the_run(page: Path, folder: Path, open_page: Open) -> None:
    opened = open_page(page)
    panel = opened.panel("rates")
    opened.point_at(panel, 0.999, 0.05)
    head, *rows = opened.reading().splitlines()
    last = History.load(folder / "history.jsonl")[-1]
    assert head == f"step {last.step}"
    told = {row.split("\t")[-3 if row.count("\t") > 2 else 1]: row for row in rows if row.strip()}
    assert set(told) == set(ROLES)
    for group in last.groups:
        written = float(told[group.name].split("\t")[2].replace(",", ""))
        assert written == pytest.approx(group.rate_after / last.factor, rel=5e-3)
    assert opened.page.locator(".reading tr.active th").inner_text() == "embedding"
    opened.page.mouse.move(1, 1)
    assert opened.page.locator(".reading").count() == 0


def test_arrow_keys_read_a_curve(page: Path, folder: Path, open_page: Open) -> None:
    history = History.load(folder / "history.jsonl")
    opened = open_page(page)
    opened.panel("rates").evaluate("panel => panel.previousElementSibling.scrollIntoView()")
    while opened.page.evaluate("document.activeElement.className") != "panel":
        opened.page.keyboard.press("Tab")

    def said() -> str:
        return opened.page.evaluate("document.activeElement.getAttribute('aria-valuetext')")

    def expected(group: int, index: int) -> str:
        entry = history[index].groups[group]
        return f"{entry.name}: {_short(entry.rate_after / history[index].factor)} at step {history[index].step}"

    assert said() == expected(0, -1)
    assert opened.reading().startswith(f"step {history[-1].step}")
    opened.page.keyboard.press("ArrowLeft")
    assert said() == expected(0, -2)
    opened.page.keyboard.press("ArrowDown")
    assert said() == expected(1, -2)
    opened.page.keyboard.press("Home")
    assert said() == expected(1, 0)
    opened.page.keyboard.press("ArrowUp")
    opened.page.keyboard.press("End")
    assert said() == expected(0, -1)
    opened.page.keyboard.press("Escape")
    assert opened.page.locator(".reading").count() == 0


def _short(value: float) -> str:
    """Three digits, as the page's script writes a rate between 1e-9 and 1e-1."""
    mantissa, power = f"{float(f'{value:.4g}'):.2e}".split("e")
    return f"{float(mantissa) * 10 ** int(power):.3g}" if int(power) >= -2 else f"{mantissa}e{int(power)}"


def test_a_name_is_text_and_runs_nothing(evil: Path, open_page: Open) -> None:
    opened = open_page(evil)
    opened.point_at(opened.panel("rates"), 0.5, 0.05)
    assert EVIL in opened.reading()
    assert opened.page.locator("img").count() == 0
    assert opened.page.evaluate("window.harmed") is None
    opened.check_quiet()


@pytest.mark.parametrize("name", ["page", "comparison", "many", "endless"])
def test_a_page_is_light(name: str, request: pytest.FixtureRequest, open_page: Open) -> None:
    open_page(request.getfixturevalue(name)).check_light()


@pytest.mark.parametrize("width", [360, 1440])
def test_thinning_keeps_what_lies_apart(endless: Path, open_page: Open, width: int) -> None:
    opened = open_page(endless, width=width)
    opened.check_keeps("training", "each step", SPIKE, "top")
    opened.check_keeps("rates", ROLES[0], DIP, "bottom")


def test_a_spike_can_be_pointed_at(endless: Path, open_page: Open) -> None:
    opened = open_page(endless)
    opened.point_at(opened.panel("training"), SPIKE[0] / 100_000 * 0.98 + 0.01, 0.06)
    assert "777" in opened.page.locator(".reading tr", has_text="each step").inner_text()


def test_runs_side_by_side_are_read_together(comparison: Path, open_page: Open) -> None:
    opened = open_page(comparison)
    assert "second has the best accuracy of 2: 0.96, then first (0.9575)." in opened.page.locator(".found").inner_text()
    opened.point_at(opened.panel("rates"), 0.5, 0.5)
    rows = [row.split("\t")[1:3] for row in opened.reading().splitlines() if "\t" in row]
    told = {name: float(value) for name, value in rows}
    assert told["second"] == pytest.approx(3 * told["first"], rel=0.01)


def test_cells_of_a_map_are_read_one_by_one(many: Path, open_page: Open) -> None:
    opened = open_page(many)
    panel = opened.panel("influence")
    panel.focus()
    first = panel.get_attribute("aria-valuetext")
    opened.page.keyboard.press("ArrowRight")
    assert panel.get_attribute("aria-valuetext") != first
    assert opened.reading() == panel.get_attribute("aria-valuetext")


def test_a_path_is_read_point_by_point(tmp_path: Path, open_page: Open) -> None:
    result, lines = rosenbrock(40)
    opened = open_page(write_report(write(tmp_path / "run", [record(0, ("x", "y"))], lines, {}, result)))
    opened.check_quiet()
    panel = opened.panel("path")
    panel.focus()
    opened.page.keyboard.press("Home")
    x, y = lines[0]["point"]
    assert panel.get_attribute("aria-valuetext") == f"path: {y:g} at first parameter {x:g}"


@pytest.mark.parametrize("value", EXTREMES)
def test_extreme_numbers_are_no_error(tmp_path: Path, value: float, open_page: Open) -> None:
    opened = open_page(write_report(extreme(tmp_path / "run", value)))
    for panel in opened.page.locator(".panel:visible").all():
        opened.point_at(panel, 0.5, 0.5)
    opened.check_quiet()


def test_a_finger_is_told_values_too(page: Path, open_page: Open) -> None:
    opened = open_page(page, width=360, touch=True)
    opened.panel("rates").tap()
    assert "embedding" in opened.reading()
    opened.page.locator("h1").tap()
    assert opened.page.locator(".reading").count() == 0


def test_without_scripts_all_is_there_but_the_readings(page: Path, open_page: Open) -> None:
    opened = open_page(page, script=False)
    assert opened.page.get_by_role("img").count() == 9
    assert opened.page.get_by_role("slider").count() == 0
    assert opened.page.get_by_role("heading", level=2).count() == 12
    assert not opened.page.locator("[data-hint]").is_visible()


def test_on_paper_nothing_is_cut(page: Path, open_page: Open) -> None:
    opened = open_page(page)
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("nav").is_visible()
    assert opened.page.locator(".tall").evaluate_all("parts => parts.every((p) => p.scrollHeight === p.clientHeight)")
