import math

import pytest
from rich.console import Console

from hidlr.history import GroupRecord, StepRecord
from hidlr.reports import summary
from support.report_runs import group, record


def test_an_untouched_tuner_prints_dashes() -> None:
    text = str(summary([], rates={"bias": 1e-3, "rest": 0.0}, sizes={"bias": 10, "rest": 12345}))
    bias = next(line for line in text.splitlines() if line.startswith("bias"))
    assert bias.split() == ["bias", "10", "1.0e-3", "-", "-", "-", "-", "0", "0"]
    assert "12,345" in text
    assert "No probe yet." in text


def test_rows_follow_the_rates_and_hold_means() -> None:
    records = [
        StepRecord(0, "", (GroupRecord("a", 4, 1.0, 2.0, 2.0, 1.0, 0.0, True),), forwards=3),
        StepRecord(1, "", (GroupRecord("a", 4, 2.0, 2.0, 4.0, 3.0, 0.0, True),), forwards=2),
        StepRecord(2, "", (GroupRecord("a", 4, 2.0, 2.0, 9.0, -1.0, 0.0, False, "not convex"),)),
    ]
    made = summary(records, rates={"b": 5.0, "a": 3.0}, sizes={"a": 4})
    b, a = made.rows
    assert (b.name, b.size, b.start, b.slope, b.ppi, b.measured) == ("b", None, None, None, None, 0)
    assert (a.rate, a.start, a.slope, a.curvature, a.measured, a.refused) == (3.0, 1.0, 3.0, 2.0, 2, 1)
    assert a.ppi == pytest.approx(3.0**2 / (math.sqrt(1.0 * 3.0) * 4))  # the curvatures' geometric mean
    assert (made.probes, made.forwards) == (3, 5)


def test_text_is_plain_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    made = summary([record(0)], rates={"bias": 1e-3}, sizes={"bias": 10})
    before = str(made)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "20", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    assert str(made) == before
    assert before.isascii()
    assert "\x1b" not in before


@pytest.mark.parametrize("name", ["[bold red]x[/]", "[/nope]", "<img src=x>", ":smile:", "a$b"])
def test_names_are_not_markup(name: str) -> None:
    assert name in str(summary([], rates={name: 1.0}, sizes={name: 1}))


def test_control_characters_are_escaped() -> None:
    text = str(summary([], rates={"a\x1b[31mb\n\ud800": 1.0}, sizes={}))
    assert r"a\x1b[31mb\n\ud800" in text


def test_a_long_name_is_whole() -> None:
    name = "encoder." * 20
    text = str(summary([], rates={name: 1.0}, sizes={}))
    first_column = "".join(line.split(" ")[0] for line in text.splitlines()[2:])
    assert name in first_column
    assert max(map(len, text.splitlines())) <= 110


def test_a_hundred_groups() -> None:
    names = tuple(f"layers.{index}" for index in range(100))
    text = str(summary([record(0, names)], rates=dict.fromkeys(names, 1e-3), sizes={}))
    assert all(name in text for name in names)


def test_rich_prints_it() -> None:
    console = Console(record=True, width=120)
    with console.capture() as captured:
        console.print(summary([], rates={"[b]": 1.0}, sizes={}))
    assert "[b]" in captured.get()


def test_notebooks_get_escaped_html() -> None:
    html = summary([], rates={"<b>": 1.0}, sizes={})._repr_html_()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_extreme_measurements_do_not_break_it(value: float) -> None:
    wild = GroupRecord("a", 4, value, value, value, value, 0.0, True)
    text = str(summary([StepRecord(0, "", (wild, group("b")))], rates={"a": value}, sizes={"a": 4}))
    assert "a " in text
