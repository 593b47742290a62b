"""Why measurements were refused, counted."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hidlr.history import StepRecord

__all__ = ["Reason", "notes_of", "reasons_of"]

_NUMBER = re.compile(r"(?<![A-Za-z_\d.])-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, with what differs between its messages as ranges.

    Attributes:
        text: e.g. "R2 0.310 to 0.950 below 0.99".
        count: how often it was given.
        groups: how many groups it was given for.
        first: first step.
        last: last step.
    """

    text: str
    count: int
    groups: int
    first: int
    last: int


class _Tally:
    def __init__(self, step: int, values: Sequence[str]) -> None:
        self.count, self.first, self.last = 0, step, step
        self.groups: set[str] = set()
        self.low, self.high = list(values), list(values)

    def add(self, step: int, group: str, values: Sequence[str]) -> None:
        self.count += 1
        self.first, self.last = min(self.first, step), max(self.last, step)
        self.groups.add(group)
        for index, value in enumerate(values):
            self.low[index] = min(self.low[index], value, key=float)
            self.high[index] = max(self.high[index], value, key=float)

    def result(self, pattern: str) -> Reason:
        pairs = zip(self.low, self.high, strict=True)
        ranges = iter([low if float(low) == float(high) else f"{low} to {high}" for low, high in pairs])
        text = re.sub("\0", lambda _: next(ranges), pattern)
        return Reason(text, self.count, len(self.groups), self.first, self.last)


def reasons_of(records: Iterable[StepRecord]) -> list[Reason]:
    """Reasons for refused measurements, the most frequent first.

    Messages that differ in their numbers only count as one.
    """
    return _counted(
        (record.step, group.name, group.reason)
        for record in records
        for group in record.groups
        if group.reason and not group.accepted
    )


def notes_of(records: Iterable[StepRecord]) -> list[Reason]:
    """Reasons why a whole probe changed no rate, the most frequent first."""
    return _counted((record.step, "", record.note) for record in records if record.note)


def _counted(given: Iterable[tuple[int, str, str]]) -> list[Reason]:
    tallies: dict[str, _Tally] = {}
    for step, group, text in given:
        pattern, values = _parsed(text)
        if pattern not in tallies:
            tallies[pattern] = _Tally(step, values)
        tallies[pattern].add(step, group, values)
    found = [tally.result(pattern) for pattern, tally in tallies.items()]
    return sorted(found, key=lambda reason: -reason.count)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> tuple[str, tuple[str, ...]]:
    """A message with a NUL for each number, and the numbers."""
    text = text.replace("\0", "")
    return _NUMBER.sub("\0", text), tuple(_NUMBER.findall(text))
