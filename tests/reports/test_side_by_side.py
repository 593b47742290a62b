import json
import re
from pathlib import Path

import pytest
from test_report_page import EVIL, check

from hidlr.cli import main
from hidlr.errors import InputError
from hidlr.reports import write_comparison
from hidlr.reports.beside import MOST, names_of
from hidlr.reports.load import load_run
from hidlr.reports.progress import smoothed
from support.browser_runs import usual
from support.report_runs import RUN, metric_lines, record, write_folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A tuned run, one whose rates are three times as high, and a uniform one."""
    uniform = {"final": {"accuracy": 0.93}, "metric_name": "accuracy", "higher_is_better": True}
    config = {**RUN["config"], "rate": 0.003}
    return [
        write_folder(tmp_path / "uniform", [], run={**RUN, "config": config}, result=uniform, metrics=metric_lines(60)),
        usual(tmp_path / "first"),
        usual(tmp_path / "second", factor=3.0, seed=1, metric=0.96),
    ]


def rows(page: str, section: str) -> dict[str, list[str]]:
    """Cells of a section's first table, by the first of each row."""
    (table,) = re.findall(rf'<section aria-labelledby="{section}">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    found = [re.findall(r"<t[hd][^>]*>(?:<span>)?([^<]*)<", row) for row in table.split("</tr>") if "<tr" in row]
    return {row[0]: row[1:] for row in found}


def test_runs_stand_side_by_side(runs: list[Path], tmp_path: Path) -> None:
    page = write_comparison(runs, tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    text = check(page).text
    assert "digits with adamw" in text
    assert "3 runs side by side: uniform, first, second" in text
    assert "second has the best accuracy of 3: 0.96, then first (0.9575)." in text
    assert "Their settings differ in rate, seed." in text
    # The same measurements, so the same ranks.
    assert "6 groups in common: rank correlation 1.00." in text
    assert rows(page, "settings") == {"rate": ["0.003", "auto", "auto"], "seed": ["0", "0", "1"]}
    side = rows(page, "runs")
    assert [side[name][0] for name in ("uniform", "first", "second")] == ["0.93", "0.9575", "0.96"]
    assert rows(page, "run")["second"] == ["hidlr train digits --seed 1"]
    uniform, first, second = rows(page, "rates")["head"]
    assert uniform == "-"
    assert float(second) == pytest.approx(3 * float(first), rel=0.05)
    assert re.findall(r'class="mark">([^<]*)<', page) == ["best"]


def test_a_run_keeps_its_colour_where_another_has_nothing_to_show(runs: list[Path], tmp_path: Path) -> None:
    page = write_comparison(runs, tmp_path / "page.html").read_text(encoding="utf-8")
    colours: dict[str, set[str]] = {}
    for panels in re.findall(r'data-panels="([^"]*)"', page):
        for panel in json.loads(panels.replace("&#34;", '"')):
            for line in panel.get("lines", ()):
                colours.setdefault(line["name"], set()).add(line["color"])
    assert colours == {"uniform": {"c0"}, "first": {"c1"}, "second": {"c2"}}


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    assert names_of([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]
    with pytest.raises(InputError, match="named twice"):
        names_of([tmp_path / "a", tmp_path / "b" / ".." / "a"])


def test_too_few_or_too_many(runs: list[Path], tmp_path: Path) -> None:
    for folders in (runs[:1], runs * MOST):
        with pytest.raises(InputError, match=f"name 2 to {MOST}"):
            write_comparison(folders, tmp_path / "page.html")
    with pytest.raises(InputError, match="is a folder"):
        write_comparison(runs, tmp_path)


def test_names_of_runs_are_only_ever_text(tmp_path: Path) -> None:
    evil = usual(tmp_path / EVIL)
    page = write_comparison([evil, usual(tmp_path / "other")], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert check(page).text.count(EVIL) > 5


def test_runs_with_nothing_in_common(tmp_path: Path) -> None:
    one = write_folder(tmp_path / "one", [record(0, ("a", "b"))], result={"metric_name": "loss", "final": {"loss": 1}})
    other = write_folder(tmp_path / "other", [record(0, ("c",))], result={"diverged_at": 7})
    text = check(write_comparison([one, other], tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "other diverged: the loss at step 7 was not finite." in text
    assert "The runs have no final metric in common." in text
    assert "rank correlation" not in text


def test_many_groups_show_those_that_differ_most(tmp_path: Path) -> None:
    names = tuple(f"layer{index:02}" for index in range(20))
    folders = []
    for name, factor in (("one", 1.0), ("other", 0.5)):
        folders.append(write_folder(tmp_path / name, [record(step, names, factor=factor) for step in range(3)]))
    page = write_comparison(folders, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The 12 of 20 groups whose final rates lie farthest apart." in check(page).text


def test_the_command_takes_several_runs(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "first", "second"]) == 0
    assert capsys.readouterr().out == "comparison.html\n"
    assert (tmp_path / "comparison.html").is_file()
    assert main(["report", "first", "second", "--out", "two.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "two.html"}
    assert main(["report", "first", "first"]) != 0
    assert "named twice" in capsys.readouterr().err


def test_a_short_run_is_not_smoothed(tmp_path: Path) -> None:
    line, window = smoothed(load_run(write_folder(tmp_path / "run", [], metrics=metric_lines(20))), "loss", 0)
    assert window == 1
    assert line.y.tolist() == pytest.approx([entry["loss"] for entry in metric_lines(20)])
