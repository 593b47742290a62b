"""A run folder as typed data."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hidlr.errors import InputError, StateError
from hidlr.history import History, StepRecord
from hidlr.influence import Influence
from hidlr.reports.files import read_lines, read_object
from hidlr.reports.surface import Surface
from hidlr.reports.table import influence_of

__all__ = ["Metric", "Result", "RunData", "load_run", "number_in"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of metrics.jsonl.

    Attributes:
        step: index of the base step.
        loss: training loss at the step; nan where absent.
        seconds: wall-clock of the run so far, probes included; nan where absent.
        probe_seconds: wall-clock of the probes so far; nan where absent.
        evals: metrics of an evaluation at this step, by name.
        point: the parameters of a 2-D workload, or None.
    """

    step: int
    loss: float
    seconds: float
    probe_seconds: float
    evals: Mapping[str, float]
    point: tuple[float, float] | None


@dataclass(frozen=True)
class Result:
    """What a finished run wrote in result.json.

    Attributes:
        final: final metrics by name.
        comparison: rows to compare with, as written; each has a "name" and a "metric".
        metric_name: what "metric" is in the comparison.
        higher_is_better: whether a higher metric is the better one.
        surface: the function of a 2-D workload, or None.
        diverged_at: the step whose loss was not finite, which ended the run; None if none was.
    """

    final: Mapping[str, object]
    comparison: tuple[Mapping[str, object], ...]
    metric_name: str
    higher_is_better: bool
    surface: Surface | None
    diverged_at: int | None


@dataclass(frozen=True)
class RunData:
    """All that a run folder tells.

    Attributes:
        name: the folder's name.
        run: run.json as written; empty if absent.
        records: the probes.
        metrics: by step, ascending; the last line of a step counts.
        result: result.json, or None.
        influence: influence.json, or made from the records.
        notices: what is missing or was cut short, in sentences.
    """

    name: str
    run: Mapping[str, Any]
    records: tuple[StepRecord, ...]
    metrics: tuple[Metric, ...]
    result: Result | None
    influence: Influence
    notices: tuple[str, ...]


def load_run(folder: Path) -> RunData:
    """Read a run folder.

    Raises:
        InputError: the folder does not exist, or is not a run.
        StateError: a file in it is damaged; the message names file and line.
    """
    if not folder.is_dir():
        raise InputError(f"no run folder at {folder}: pass the folder that a run wrote history.jsonl to")
    path = folder / "history.jsonl"
    if not path.is_file():
        raise InputError(f"{folder} has no history.jsonl: pass a run folder, or write one with History({str(path)!r})")
    notices: list[str] = []
    records = tuple(map(_numeric, History.load(path)))
    run = _object(folder / "run.json", notices) or {}
    result = _object(folder / "result.json", notices)
    influence = _object(folder / "influence.json", notices)
    return RunData(
        name=folder.resolve().name,
        run=run,
        records=records,
        metrics=_metrics(folder / "metrics.jsonl"),
        result=None if result is None else _result(result, run, notices),
        influence=(influence and _influence(influence, notices)) or influence_of(records),
        notices=tuple(notices),
    )


def number_in(value: object) -> float:
    """A number however it was written ("nan" too); nan for anything else."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _numeric(record: StepRecord) -> StepRecord:
    """The record with what the file wrote as "nan" or "inf" as numbers again."""
    if isinstance(record.factor, str) or isinstance(record.seconds, str):
        return replace(record, factor=number_in(record.factor), seconds=number_in(record.seconds))
    return record


def _object(path: Path, notices: list[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value = read_object(path)
    if value is None:
        notices.append(f"{path.name} is cut short and was left out.")
    return value


def _metrics(path: Path) -> tuple[Metric, ...]:
    if not path.is_file():
        return ()
    found: dict[int, Metric] = {}
    for line, entry in read_lines(path):
        step = number_in(entry.get("step"))
        if not math.isfinite(step):
            raise StateError(f"{path}, line {line} has no step: each line needs a number under 'step'.")
        found[int(step)] = Metric(
            step=int(step),
            loss=number_in(entry.get("loss")),
            seconds=number_in(entry.get("seconds")),
            probe_seconds=number_in(entry.get("probe_seconds")),
            evals={str(name): number_in(value) for name, value in _mapping(entry.get("eval")).items()},
            point=_point(entry.get("point")),
        )
    return tuple(found[step] for step in sorted(found))


def _result(data: dict[str, Any], run: Mapping[str, Any], notices: list[str]) -> Result:
    rows = data.get("comparison")
    surface = data.get("surface")
    if surface is not None:
        try:
            surface = Surface.of(surface)
        except (TypeError, ValueError, KeyError) as error:
            notices.append(f"The surface in result.json was left out: {error}.")
            surface = None
    return Result(
        final=_mapping(data.get("final")),
        comparison=tuple(row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else (),
        metric_name=str(data.get("metric_name") or run.get("metric_name") or "metric"),
        higher_is_better=bool(data.get("higher_is_better", True)),
        surface=surface,
        diverged_at=data["diverged_at"] if isinstance(data.get("diverged_at"), int) else None,
    )


_PARTS = ("ppi", "total", "sizes", "measured", "refused")


def _influence(data: dict[str, Any], notices: list[str]) -> Influence | None:
    with suppress(StateError):
        return Influence.from_dict(data)
    # A file of other programs may lack what a page can do without.
    parts = [_mapping(data.get(name)) for name in _PARTS]
    if not parts[0] or not parts[2]:
        notices.append("influence.json has no ppi and sizes; influence is taken from the history instead.")
        return None
    ppi, total, *counts = ({name: number_in(value) for name, value in part.items()} for part in parts)
    sizes, measured, refused = ({k: int(v) for k, v in c.items() if math.isfinite(v)} for c in counts)
    return Influence(ppi, total, sizes, measured, refused)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _point(value: object) -> tuple[float, float] | None:
    return (number_in(value[0]), number_in(value[1])) if isinstance(value, list) and len(value) == 2 else None
