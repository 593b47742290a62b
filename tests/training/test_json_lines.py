import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest

from hidlr.errors import StateError
from hidlr.training.jsonlines import JsonLines, dump_json, read_json, read_lines, write_atomically


def test_offset_cuts_what_comes_after(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log")
    log.append("1")
    offset = log.offset
    log.append("2")
    log.close()
    log = JsonLines(tmp_path / "log", offset=offset)
    log.append("3")
    log.close()
    assert (tmp_path / "log").read_text() == "1\n3\n"


def test_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = JsonLines(tmp_path / "log")
    log.append("first")
    assert log._file is not None
    real, room = log._file, 3

    class Full:
        def write(self, data: bytes) -> int:
            real.write(data[:room])  # part of the line gets through
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(log, "_file", Full())
    for line in ("second", "third"):
        with pytest.raises(OSError, match="No space"):
            log.append(line)
    monkeypatch.setattr(log, "_file", real)
    log.append("fourth")
    log.close()
    assert (tmp_path / "log").read_text().split() == ["first", "second", "third", "fourth"]
    assert log.offset == (tmp_path / "log").stat().st_size


def test_json_is_strict(tmp_path: Path) -> None:
    data = {"loss": math.nan, "all": [math.inf, -math.inf, (1, 2.5)], 3: None}
    written = json.loads(dump_json(data), parse_constant=pytest.fail)
    assert written == {"loss": "nan", "all": ["inf", "-inf", [1, 2.5]], "3": None}


def test_atomic_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("1\noops\n3\n")
    with pytest.raises(StateError, match=r"line 2 is damaged.*buy a new disk"):
        read_lines(path, 9, json.loads, "buy a new disk")
    assert read_lines(path, 2, json.loads, "") == [1]
    assert read_lines(tmp_path / "absent", 0, json.loads, "") == []
    with pytest.raises(StateError, match="9 bytes, its checkpoint says 10"):
        read_lines(path, 10, json.loads, "")
    with pytest.raises(StateError, match="cannot be read"):
        read_lines(tmp_path / "absent", 5, json.loads, "")


def test_missing_and_damaged_json(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"there is no .*: look elsewhere"):
        read_json(tmp_path / "absent", "look elsewhere")
    (tmp_path / "file").write_bytes(b"\xff{")
    with pytest.raises(StateError, match="is damaged"):
        read_json(tmp_path / "file", "look elsewhere")
