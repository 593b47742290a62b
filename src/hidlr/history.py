"""What each probe found: append-only records, kept in memory and, if asked, as JSON Lines."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, Self

from hidlr.engines import Finding
from hidlr.errors import StateError

__all__ = ["GroupRecord", "History", "StepRecord"]


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group's part of a probe.

    Attributes:
        name: the group's name.
        size: number of trainable entries, d_k.
        rate_before: the rate the base optimizer stepped with (units of ``lr``).
        rate_after: the rate the step was placed at (units of ``lr``), before the schedule moves on.
        slope: b_k, decrease of the loss per unit of rate (loss / lr); None where not measured.
        curvature: A_kk (loss / lr^2); None where not measured.
        noise: the error of one measured loss that a fit must rise above (loss); None where not measured.
        accepted: whether a measurement of this group was used.
        reason: why a measurement was refused; "" if accepted or not measured.
    """

    name: str
    size: int
    rate_before: float
    rate_after: float
    slope: float | None = None
    curvature: float | None = None
    noise: float | None = None
    accepted: bool = False
    reason: str = ""

    @classmethod
    def of(cls, name: str, size: int, before: float, after: float, found: Finding | None) -> Self:
        """A record from what an engine found in units of the step, turned into units of ``lr``."""
        if found is None or before <= 0:
            return cls(name, size, before, after)
        return cls(
            name=name,
            size=size,
            rate_before=before,
            rate_after=after,
            slope=found.slope / before,
            curvature=found.curvature / before**2,
            noise=found.noise,
            accepted=not found.reason,
            reason=found.reason,
        )


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One probe: what was measured at a step, and what came of it.

    Attributes:
        step: index of the base step, from 0.
        phase: what the engine was doing, e.g. "calibrate", "warm-up", "track".
        groups: one record per group, in the optimizer's order.
        points: xi of each measured point, one entry per group; 0 is before the base step, 1 after it.
        losses: the loss at each point, in the same order.
        forwards: closures evaluated (a list of n closures counts n for each point).
        seconds: wall-clock spent in the probe (s).
        factor: the schedule's factor at this step; under a torch scheduler the rate over its peak.
        note: why no rate changed, "" if some did.
        frozen: groups that were frozen after this probe.
    """

    step: int
    phase: str
    groups: tuple[GroupRecord, ...]
    points: tuple[tuple[float, ...], ...] = ()
    losses: tuple[float, ...] = ()
    forwards: int = 0
    seconds: float = 0.0
    factor: float = 1.0
    note: str = ""
    frozen: tuple[str, ...] = ()

    @property
    def rates(self) -> dict[str, float]:
        """Rate of each group after the probe, by name (units of ``lr``)."""
        return {group.name: group.rate_after for group in self.groups}

    def to_json(self) -> str:
        """The record as one line of strict JSON; nan and infinities become strings."""
        return json.dumps(_plain(asdict(self)), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "StepRecord":
        """Inverse of `to_json`.

        Raises:
            StateError: the line is not a record.
        """
        try:
            data = json.loads(line)
            return cls(
                **{
                    **{k: _revived(k, v) for k, v in _known(cls, data).items()},
                    "groups": tuple(
                        GroupRecord(**{k: _revived(k, v) for k, v in _known(GroupRecord, group).items()})
                        for group in data["groups"]
                    ),
                    "points": tuple(tuple(map(_number, point)) for point in data["points"]),
                    "losses": tuple(map(_number, data["losses"])),
                    "frozen": tuple(map(str, data.get("frozen", ()))),
                }
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StateError(f"not a step record ({error}): {line[:80]!r}") from error


class History:
    """Append-only sequence of `StepRecord`; with a path, each record is also written and flushed.

    Args:
        path: a JSON Lines file to append to, or None to keep records in memory only.

    Example:
        >>> history = History()
        >>> history.append(StepRecord(0, "calibrate", (GroupRecord("all", 3, 1e-3, 2e-3),)))
        >>> len(history), history[-1].rates
        (1, {'all': 0.002})
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._records: list[StepRecord] = []
        self._path = Path(path) if path is not None else None
        self._file: IO[str] | None = None

    def append(self, record: StepRecord) -> None:
        """Keep one record, and write its line if there is a path.

        Raises:
            OSError: the file cannot be written (read-only or full disk); the record is kept in memory.
        """
        self._records.append(record)
        if self._path is not None:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                _drop_partial_line(self._path)
                self._file = self._path.open("a", encoding="utf-8")
            self._file.write(record.to_json() + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file, if one is open; records stay readable."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[StepRecord]:
        return iter(self._records)

    def __getitem__(self, index: int) -> StepRecord:
        return self._records[index]

    @classmethod
    def load(cls, path: str | Path) -> "History":
        """Read a JSON Lines file; a last line cut short by a killed process is left out.

        Raises:
            StateError: a line other than the last is damaged; the message gives its number.
        """
        history = cls()
        lines = Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                history._records.append(StepRecord.from_json(line))
            except StateError as error:
                # Every whole record ends in a newline, so only text after the last one may be cut short.
                if number == len(lines):
                    break
                raise StateError(
                    f"{path}, line {number} is damaged: {error}. Remove that line, or restore the file."
                ) from error
        return history


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that a record class has, so that records of a later version still load."""
    names = {field.name for field in fields(cls)}
    return {key: value for key, value in data.items() if key in names}


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value


def _revived(key: str, value: Any) -> Any:
    return value if key in ("name", "reason", "phase", "note") else _number(value)


def _drop_partial_line(path: Path) -> None:
    """Cut what a killed process left after the last newline, so that the next record starts a line."""
    if path.exists():
        with path.open("rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
