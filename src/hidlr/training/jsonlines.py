"""Append-only JSON Lines that survive a full disk, and strict JSON."""

import errno
import io
import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from hidlr.errors import StateError

__all__ = ["JsonLines", "dump_json", "read_json", "read_lines", "write_atomically"]

Parsed = TypeVar("Parsed")


class JsonLines:
    """A file of one JSON object a line; lines that cannot be written wait in memory.

    Args:
        path: the file; created at the first line.
        offset: bytes to keep of what the file holds; the rest is cut.

    Raises:
        OSError: the file cannot be cut.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._waiting: list[bytes] = []
        self._file: io.FileIO | None = None
        if path.exists() and path.stat().st_size != offset:
            os.truncate(path, offset)

    @property
    def offset(self) -> int:
        """Bytes written for good."""
        return self._offset

    def append(self, line: str) -> None:
        """Write a line, and those that wait before it.

        Raises:
            OSError: read-only or full disk; the line waits for the next call.
        """
        self._waiting.append(line.encode() + b"\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait.

        Raises:
            OSError: read-only or full disk; they go on waiting.
        """
        while self._waiting:
            if self._file is None:
                self._file = io.FileIO(self.path, "r+" if self.path.exists() else "w")
            # A write cut short by a full disk leaves part of a line: start over at its beginning.
            self._file.seek(self._offset)
            self._file.truncate()
            line = self._waiting[0]
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            self._offset += len(line)
            del self._waiting[0]

    def sync(self) -> None:
        """Ask the system to put written lines on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def dump_json(value: Any, *, indent: int | None = None) -> bytes:
    """Strict JSON: nan and infinities become strings.

    Example:
        >>> dump_json({"loss": float("nan")})
        b'{"loss":"nan"}'
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(_plain(value), allow_nan=False, indent=indent, separators=separators).encode()


def read_json(path: Path, remedy: str) -> Any:
    """Read a JSON file.

    Raises:
        StateError: it is missing or damaged; the message names it and the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StateError(f"there is no {path}: {remedy}") from error
    except (ValueError, OSError) as error:
        raise StateError(f"{path} is damaged ({error}): {remedy}") from error


def read_lines(path: Path, length: int, parse: Callable[[str], Parsed], remedy: str) -> list[Parsed]:
    """Read the first `length` bytes of a file of lines; 0 bytes need no file.

    Raises:
        StateError: it is shorter, or a line is damaged; the message names it and the remedy.
    """
    try:
        data = path.read_bytes() if length else b""
    except OSError as error:
        raise StateError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if len(data) < length:
        raise StateError(f"{path} has {len(data)} bytes, its checkpoint says {length}: {remedy}")
    parsed = []
    for number, line in enumerate(data[:length].splitlines(), 1):
        try:
            parsed.append(parse(line.decode()))
        except ValueError as error:
            raise StateError(f"{path}, line {number} is damaged ({error}): {remedy}") from error
    return parsed


def write_atomically(path: Path, data: bytes) -> None:
    """Put a whole file in place, or leave the old one.

    Raises:
        OSError: read-only or full disk.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
