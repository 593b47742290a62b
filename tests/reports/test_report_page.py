import base64
import hashlib
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hidlr.errors import InputError
from hidlr.history import GroupRecord, StepRecord
from hidlr.reports import write_report
from support.browser_runs import EXTREMES, extreme
from support.report_runs import RESULT, ROLES, RUN, Writer, metric_lines, record, rosenbrock

EVIL = "<img src=x onerror=alert(1)>"
VOID = {"meta", "br", "img", "link", "input"}


class Checked(HTMLParser):
    """Collects tags, attributes and text; unbalanced tags fail."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def svgs(page: str) -> list[str]:
    return re.findall(r"<svg xmlns.*?</svg>", page, re.DOTALL)


def check(page: str) -> Checked:
    """What holds of every page."""
    checked = Checked(page)
    assert not {"img", "link", "iframe", "object", "base", "form"} & set(checked.tags)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
    assert [v for _, v in checked.attributes if v.startswith("default-src")] == [
        policy + "base-uri 'none'; form-action 'none'"
    ]
    assert checked.tags.count("script") == 1
    for name, value in checked.attributes:
        assert not name.startswith("on")
        assert name not in ("src", "srcset", "xlink:href")
        assert name != "href" or value.startswith("#"), value
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")", page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    for svg in svgs(page):
        root = ET.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label")
    ids = [value for name, value in checked.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in checked.attributes:
        if name == "href":
            assert value[1:] in ids
        if name in ("aria-labelledby", "aria-describedby"):
            assert value in ids
        for target in re.findall(r"url\(#([^)]+)\)", value):
            assert target in ids
    return checked


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    from support.report_runs import write_folder

    steps = sorted({*range(10), *range(10, 30, 2), *range(30, 300, 10)})
    records = [record(step, factor=1 - step / 300, points=step % 50 == 0) for step in steps]
    folder = write_folder(tmp_path_factory.mktemp("digits"), records, run=RUN, result=RESULT, metrics=metric_lines(300))
    return write_report(folder).read_text(encoding="utf-8")


def test_a_whole_run_has_every_section(digits: str) -> None:
    checked = check(digits)
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", digits)
    assert titles == [
        "What was found",
        "Compared with",
        "Rates",
        "Groups",
        "Influence",
        "Training",
        "What probing cost",
        "Slopes",
        "Curvatures",
        "Parabolas",
        "What was refused",
        "How it was run",
    ]
    assert checked.tags.count("h1") == 1
    assert checked.tags.count("figure") == checked.tags.count("figcaption") == 9
    assert len(svgs(digits)) == 18
    assert all(role in checked.text for role in ROLES)


def test_the_headline_says_what_was_found(digits: str) -> None:
    assert "hidlr has the best accuracy of 3: 0.9575, then AdamW, warmed up (0.9525)." in digits
    assert re.search(r"The rates span a factor of \d+: embedding highest \([^)]+\), head lowest", digits)
    assert re.search(r"Probing took [\d.]+% of the run&#39;s time \(\d+ forward passes\)\.", digits)
    assert re.search(r"\d+ of \d+ measurements were refused: below the noise of the loss\.", digits)


def test_rates_are_told_without_the_schedule(digits: str) -> None:
    assert "embedding highest (0.01" in digits
    assert "The optimizer&#39;s rate is this times the schedule, which went from 1.0 to" in digits


def test_the_run_can_be_repeated_from_the_page(digits: str) -> None:
    text = Checked(digits).text
    assert "hidlr train digits --out 'runs/my run'" in text
    assert "2.13.0+cpu" in text
    assert "08c36d4" in text


def test_colours_follow_the_readers_scheme(digits: str) -> None:
    assert "prefers-color-scheme: dark" in digits
    assert 'name="viewport"' in digits
    for svg in svgs(digits):
        assert not re.search(r"#[0-9a-fA-F]{6}\b", svg), "a colour of its own"
        assert "DejaVu" not in svg
        assert "var(--" in svg


def test_pointing_at_a_line_names_it(digits: str) -> None:
    assert digits.count("<title>embedding</title>") >= 6


def test_names_are_only_ever_text(write_run: Writer) -> None:
    names = (EVIL, "a$b$c_{1}", '"><script>alert(1)</script>', "]]>&amp;", "\x00\x1b\ud800\u202e", "x" * 300, "日本語")
    lines = [{"step": step, "loss": 1.0, "eval": {EVIL: 1.0}} for step in range(3)]
    result = {"final": {EVIL: EVIL}, "comparison": [{"name": EVIL, "metric": 1.0, EVIL: EVIL}], "metric_name": EVIL}
    run = {"config": {EVIL: EVIL, "workload": EVIL}, "argv": [EVIL], EVIL: {EVIL: [EVIL]}}
    records = [
        record(0, names, points=True),
        StepRecord(1, EVIL, (GroupRecord(EVIL, 1, 1.0, 1.0, reason=EVIL),), note=EVIL),
    ]
    folder = write_run(records, run=run, result=result, metrics=lines)
    page = write_report(folder).read_text(encoding="utf-8")
    checked = check(page)
    assert "<img" not in page
    assert page.count("<script") == 1
    assert checked.text.count(EVIL) > 10
    assert any("&lt;img src=x onerror=alert(1)&gt;" in svg for svg in svgs(page))
    assert any("a$b$c_{1}" in svg for svg in svgs(page))


def test_a_history_without_records_says_so(write_run: Writer) -> None:
    page = write_report(write_run([])).read_text()
    check(page)
    assert "No probe was recorded" in page


def test_a_uniform_run_still_shows_its_training(write_run: Writer) -> None:
    page = write_report(write_run([], run=RUN, result=RESULT, metrics=metric_lines(200))).read_text()
    check(page)
    assert "No probe was recorded" in page
    assert "The training loss" in page


def test_without_matplotlib_the_words_and_tables_stay(write_run: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result, lines = rosenbrock()
    page = write_report(write_run([record(0, points=True)], run=RUN, result=result, metrics=lines)).read_text()
    check(page)
    assert not svgs(page)
    assert "pip install &#34;hidlr[plot]&#34;" in page
    assert "The rates span" in page
    assert "embedding" in page


def test_a_path_over_its_function(write_run: Writer) -> None:
    result, lines = rosenbrock()
    page = write_report(write_run([record(0, ("x", "y"))], result=result, metrics=lines)).read_text()
    check(page)
    assert "Contours of rosenbrock" in page
    assert re.search(r"The path ends [\d.]+ from the minimum, after 80 steps\.", page)


@pytest.mark.parametrize("value", EXTREMES)
def test_extreme_numbers_do_not_break_it(tmp_path: Path, value: float) -> None:
    check(write_report(extreme(tmp_path / "run", value)).read_text())


@pytest.mark.parametrize("name", ["auto", "uniform"])
def test_the_runs_of_the_documentation_still_open(tmp_path: Path, name: str) -> None:
    check(
        write_report(Path(__file__).parents[2] / "docs" / "runs" / name, tmp_path / "page.html").read_text(
            encoding="utf-8"
        )
    )


def test_a_diverged_run_says_where(write_run: Writer) -> None:
    page = write_report(write_run([], result={"diverged_at": 1234})).read_text()
    assert "The run diverged: the loss at step 1,234 was not finite." in page


def test_many_groups_are_told_apart_by_their_ends(write_run: Writer) -> None:
    names = tuple(f"layer{index:02}" for index in range(40))
    page = write_report(write_run([record(step, names) for step in range(5)])).read_text()
    check(page)
    assert "32 other groups" in page
    assert "The 20 highest and 5 lowest of 37" in page


def test_where_it_is_written(write_run: Writer, tmp_path: Path) -> None:
    folder = write_run([])
    assert write_report(folder) == folder / "report.html"
    assert write_report(str(folder), tmp_path / "new" / "page.html") == tmp_path / "new" / "page.html"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["page.html"]
    mask = os.umask(0)
    os.umask(mask)
    assert (folder / "report.html").stat().st_mode & 0o777 == 0o666 & ~mask
    with pytest.raises(InputError, match="is a folder"):
        write_report(folder, tmp_path)


def test_a_failed_write_leaves_the_old_page(write_run: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run([])
    (folder / "report.html").write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_report(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["history.jsonl", "report.html"]
    assert (folder / "report.html").read_text() == "old"


def test_drawing_leaves_the_users_settings_alone(write_run: Writer) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": True, "lines.linewidth": 9.0, "svg.fonttype": "path"}):
        before = dict(mpl.rcParams)
        page = write_report(write_run([record(0), record(1)])).read_text()
        assert dict(mpl.rcParams) == before
    assert "stroke-width: 9" not in page


def test_importing_reports_imports_neither_matplotlib_nor_jinja2() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import hidlr.reports;"
        "found = {'matplotlib', 'jinja2'} & (set(sys.modules) - before); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_tuned_run_is_found_by_its_rate_and_the_chosen_row_is_marked(write_run: Writer) -> None:
    rows = [
        {"name": "auto", "rate": "auto", "metric": 0.95, "diverged_at": None, "chosen": False},
        {"name": "0.003, cold", "rate": 0.003, "metric": 0.94, "diverged_at": None, "chosen": True},
        {"name": "0.1, cold", "rate": 0.1, "metric": "nan", "diverged_at": 7, "chosen": False},
    ]
    page = write_report(write_run([], result={"comparison": rows, "metric_name": "accuracy"})).read_text()
    text = check(page).text
    assert "hidlr (auto) has the best accuracy of 2: 0.95, then 0.003, cold (0.94)." in text
    assert re.findall(r'class="mark">([^<]*)<', page) == ["best", "chosen"]
    assert "diverged at step" in text
