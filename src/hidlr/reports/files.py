"""JSON files of a run folder: what a killed process leaves behind is tolerated, damage is not."""

import json
import re
from pathlib import Path
from typing import Any

from hidlr.errors import StateError

__all__ = ["read_lines", "read_object"]

_TOKEN = re.compile(r"[-+.\w]*")


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is cut short.

    Raises:
        StateError: the file is damaged, or holds something else than an object.
    """
    text = _text(path)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        # Cut short: nothing but a part of one token follows, so there is no closing brace.
        if _TOKEN.fullmatch(text[error.pos :].rstrip()) or error.msg.startswith("Unterminated string"):
            return None
        raise _damaged(path, error.lineno, error.msg) from error
    if not isinstance(value, dict):
        raise _damaged(path, 1, f"expected an object, found {type(value).__name__}")
    return value


def read_lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Line number and object of each line of a JSON Lines file; a last line cut short is left out.

    Raises:
        StateError: another line is damaged, or holds something else than an object.
    """
    found = []
    lines = _text(path).split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            # Whole lines end in a newline, so only text after the last one may be cut short.
            if number == len(lines):
                break
            raise _damaged(path, number, error.msg) from error
        if not isinstance(value, dict):
            raise _damaged(path, number, f"expected an object, found {type(value).__name__}")
        found.append((number, value))
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _damaged(path: Path, line: int, why: str) -> StateError:
    return StateError(f"{path}, line {line} is damaged: {why}. Correct or remove it, or restore the file.")
