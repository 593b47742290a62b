import json
import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

import hidlr
from hidlr.errors import StateError
from hidlr.history import GroupRecord, History, StepRecord
from support.traces import assert_equal

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
GROUPS = st.builds(
    GroupRecord,
    name=st.text(),
    size=st.integers(0, 10**12),
    rate_before=ANY_FLOAT,
    rate_after=ANY_FLOAT,
    slope=st.none() | ANY_FLOAT,
    curvature=st.none() | ANY_FLOAT,
    noise=st.none() | ANY_FLOAT,
    accepted=st.booleans(),
    reason=st.text() | st.sampled_from(["nan", "inf"]),
)
RECORDS = st.builds(
    StepRecord,
    step=st.integers(0, 10**9),
    phase=st.text() | st.just("nan"),
    groups=st.lists(GROUPS, max_size=3).map(tuple),
    points=st.lists(st.tuples(ANY_FLOAT, ANY_FLOAT), max_size=3).map(tuple),
    losses=st.lists(ANY_FLOAT, max_size=3).map(tuple),
    forwards=st.integers(0, 100),
    seconds=st.floats(0, 1e6),
    factor=st.floats(0, 1),
    note=st.text() | st.just("inf"),
)


def record(step=0, **changes):
    return replace(
        StepRecord(step, "track", (GroupRecord("a", 3, 1e-3, 2e-3, 1.5, 0.25, 1e-7, True),), ((0.0,),), (2.5,), 1),
        **changes,
    )


def as_tuple(item):
    return [
        item.step, item.phase, item.points, item.losses, item.forwards, item.seconds, item.factor, item.note,
        [[getattr(group, name) for name in GroupRecord.__slots__] for group in item.groups],
    ]  # fmt: skip


@given(RECORDS)
def test_a_record_survives_json(item):
    line = item.to_json()
    assert "\n" not in line
    json.loads(line, parse_constant=lambda constant: pytest.fail(f"{constant} is not strict JSON"))
    assert_equal(as_tuple(StepRecord.from_json(line)), as_tuple(item))


def test_rates_of_a_record():
    item = record(groups=(GroupRecord("a", 1, 1.0, 2.0), GroupRecord("b", 1, 3.0, 4.0)))
    assert item.rates == {"a": 2.0, "b": 4.0}


def test_fields_of_a_later_version_are_ignored():
    data = json.loads(record().to_json())
    data["new"] = 1
    data["groups"][0]["newer"] = [2]
    assert StepRecord.from_json(json.dumps(data)) == record()


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "3", "null", '{"step": 1}', '{"groups": 3}', '{"groups": [3], "points": [], "losses": []}']
)
def test_what_is_no_record(line):
    with pytest.raises(StateError, match="not a step record"):
        StepRecord.from_json(line)


def test_appending_writes_lines_that_load(tmp_path):
    path = tmp_path / "deep" / "folder" / "history.jsonl"
    history = History(path)
    for step in range(3):
        history.append(record(step))
        # Flushed: a reader, or a crash, sees each at once.
        assert len(path.read_text().splitlines()) == step + 1
    history.close()
    loaded = History.load(path)
    assert list(loaded) == [record(step) for step in range(3)]
    assert (len(loaded), loaded[-1].step, [item.step for item in loaded]) == (3, 2, [0, 1, 2])


def test_nothing_is_written_without_a_record(tmp_path):
    History(tmp_path / "history.jsonl").close()
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_a_string(tmp_path):
    history = History(str(tmp_path / "history.jsonl"))
    history.append(record())
    history.close()
    assert len(History.load(str(tmp_path / "history.jsonl"))) == 1


def test_appending_goes_on_after_closing(tmp_path):
    history = History(tmp_path / "history.jsonl")
    for step in range(2):
        history.append(record(step))
        history.close()
    assert [item.step for item in History.load(tmp_path / "history.jsonl")] == [0, 1]


@pytest.fixture
def three_lines(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text("".join(record(step).to_json() + "\n" for step in range(3)))
    return path


@pytest.mark.parametrize("cut", [1, 2, 20, 150])
def test_a_truncated_last_line_is_left_out(three_lines, cut):
    text = three_lines.read_text()
    assert cut < len(record(2).to_json()), "the cut is meant for the last line"
    three_lines.write_text(text[: -1 - cut])
    assert [item.step for item in History.load(three_lines)] == [0, 1]


def test_a_whole_last_line_without_its_newline_is_read(three_lines):
    three_lines.write_text(three_lines.read_text()[:-1])
    assert [item.step for item in History.load(three_lines)] == [0, 1, 2]


def test_a_last_line_cut_inside_a_character_is_left_out(three_lines):
    with three_lines.open("ab") as file:
        file.write('{"step":3,"phase":"é'.encode()[:-1])
    assert [item.step for item in History.load(three_lines)] == [0, 1, 2]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_line_is_named(three_lines, number):
    lines = three_lines.read_text().splitlines()
    lines[number - 1] = lines[number - 1][:40]
    three_lines.write_text("\n".join(lines) + "\n")
    with pytest.raises(StateError, match=rf"history.jsonl, line {number} is damaged.*Remove that line, or restore"):
        History.load(three_lines)


def test_blank_lines_are_no_damage(three_lines):
    three_lines.write_text(three_lines.read_text().replace("\n", "\n\n"))
    assert len(History.load(three_lines)) == 3


def test_appending_after_a_crash_starts_a_new_line(three_lines):
    three_lines.write_text(three_lines.read_text()[:-30])
    history = History(three_lines)
    history.append(record(9))
    history.close()
    assert [item.step for item in History.load(three_lines)] == [0, 1, 9]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        History.load(tmp_path / "none.jsonl")


def test_a_record_that_cannot_be_written_is_kept_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "history.jsonl")
    with pytest.raises(OSError, match="file"):
        history.append(record(4))
    assert history[0] == record(4)


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        record().step = 3


def test_public_names():
    assert hidlr.History is History
    assert hidlr.StepRecord is StepRecord
    assert not math.isnan(record().seconds)
