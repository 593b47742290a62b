"""Examples from a file: texts and labels from TSV, CSV or JSON Lines, with errors that name the line."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hidlr.errors import InputError

__all__ = ["Table", "read_table"]

_TEXTS = ("text", "sentence", "content", "review", "question", "comment", "utterance", "tweet", "title", "body")
_PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("question", "sentence"))
_LABELS = ("label", "labels", "target", "class", "category", "intent", "sentiment")

Row = tuple[int, dict[str, Any]]  # line number, fields by column


@dataclass(frozen=True)
class Table:
    """Examples of a text classification task.

    Attributes:
        texts: one text per example, or two.
        labels: one per example, as written.
        columns: where they were found: the text's, then the label's.
    """

    texts: list[tuple[str, ...]]
    labels: list[str]
    columns: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_table(path: Path, text: Sequence[str] = (), label: str | None = None) -> Table:
    """Read the examples in a file; the kind is told by its ending.

    Tabs separate fields and nothing is quoted in .tsv; .csv is quoted as usual; .jsonl has one object a line.

    Args:
        path: the file, UTF-8, with a header unless it is .jsonl.
        text: columns of the text; empty: the first with a usual name (text, sentence, ...).
        label: column of the label; None: the first with a usual name (label, target, ...).

    Raises:
        InputError: no such file, a kind that is not known, no such column, an empty file, or a damaged line.
    """
    readers = {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: the ending tells the kind of file: .tsv, .csv or .jsonl")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_read(path, reader, file))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}): convert it first") from error
    if not rows:
        raise InputError(f"{path} has no examples")
    columns = list(rows[0][1])
    texts = tuple(text) or _guess_text(path, columns, label)
    labels = label or _guess(path, columns, _LABELS, "label", "--label-column")
    for column in (*texts, labels):
        if column not in columns:
            raise InputError(f"{path} has no column {column!r}: it has {', '.join(map(repr, columns))}")
    return Table(
        [tuple(_field(path, row, column) for column in texts) for row in rows],
        [_field(path, row, labels) for row in rows],
        (*texts, labels),
    )


def _read(path: Path, reader: "Callable[[TextIO], Iterator[Row]]", file: TextIO) -> Iterator[Row]:
    try:
        yield from reader(file)
    except (csv.Error, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise InputError(f"{path}: {error}") from error


def _tsv(file: TextIO) -> Iterator[Row]:
    return _delimited(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _csv(file: TextIO) -> Iterator[Row]:
    return _delimited(csv.DictReader(file, strict=True))


def _delimited(reader: "csv.DictReader[str]") -> Iterator[Row]:
    for row in reader:
        fields = len(reader.fieldnames or ())
        if None in row or None in row.values():
            found = len([value for key, value in row.items() if key is not None and value is not None])
            found += len(row.get(None) or ())  # what is left over
            raise ValueError(f"line {reader.line_num} has {found} fields, the header has {fields}")
        yield reader.line_num, row


def _jsonl(file: TextIO) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number} is not JSON ({error.msg})") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object with the fields of one example")
        yield number, row


def _field(path: Path, row: Row, column: str) -> str:
    number, fields = row
    value = fields.get(column)
    if isinstance(value, bool | int):
        value = str(value)
    if not isinstance(value, str):
        raise InputError(f"{path}, line {number}: {column!r} is {value!r}, expected a text or a whole number")
    if not value.strip():
        raise InputError(f"{path}, line {number}: {column!r} is empty; remove the line")
    return value.strip()


def _guess_text(path: Path, columns: list[str], label: str | None) -> tuple[str, ...]:
    for pair in _PAIRS:
        if set(pair) <= set(columns):
            return pair
    rest = [column for column in columns if column not in ({label} if label else set(_LABELS))]
    if len(columns) == 2 and len(rest) == 1:
        return (rest[0],)
    return (_guess(path, columns, _TEXTS, "text", "--text-column"),)


def _guess(path: Path, columns: list[str], usual: Sequence[str], what: str, option: str) -> str:
    lower = {column.lower(): column for column in reversed(columns)}
    for name in usual:
        if name in lower:
            return lower[name]
    raise InputError(
        f"{path}: no column looks like the {what} among {', '.join(map(repr, columns))}; name it with {option}"
    )
