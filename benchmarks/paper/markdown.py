"""Tables in Markdown."""

from collections.abc import Iterable, Sequence

__all__ = ["NOTHING", "table"]

NOTHING = "No results yet."


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    """A table, with a note below.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return NOTHING
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines, *(["", note] if note else [])])
