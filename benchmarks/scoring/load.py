"""Read result files: one JSON line a run, a file per (workload, optimizer) pair."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "Config", "Pair", "Run", "load_runs", "parse_run"]

_RESULTS = Path(__file__).parent.parent / "results"
RESULTS = {"main": _RESULTS / "runs", "outside": _RESULTS / "outside"}
"""Folders of result files by suite."""


@dataclass(frozen=True, order=True)
class Pair:
    """A workload and a base optimizer."""

    workload: str
    optimizer: str

    def __str__(self) -> str:
        return f"{self.workload}/{self.optimizer}"


@dataclass(frozen=True)
class Config:
    """What makes two runs the same run: `benchmarks.run.RunConfig` as it stands in a result file.

    Attributes:
        other: fields that a later version of the runner may add, where they are not empty.
    """

    workload: str
    optimizer: str
    method: str
    seed: int
    rate: float
    schedule: str = "linear"
    warmup: float = 0.0
    multipliers: tuple[tuple[str, float], ...] = ()
    groups: str = ""
    options: tuple[tuple[str, float | str], ...] = ()
    other: tuple[tuple[str, str], ...] = ()

    @property
    def pair(self) -> Pair:
        """The pair that it belongs to."""
        return Pair(self.workload, self.optimizer)


@dataclass(frozen=True)
class Run:
    """One line of a result file.

    Attributes:
        config: what was run.
        status: "ok", "diverged" or "error".
        metric: the workload's metric at the end; nan where there is none.
        train_loss: mean loss of the last 5% of the steps; nan where there is none.
        curve: (step, mean loss since the last entry).
        groups: number of groups whose rates were tuned.
        seconds: wall-clock of training, probes included.
        probe_seconds: the part of it spent on steps that probe.
        steps: steps that the run took.
        engine: hash of the source of hidlr's engine that made the run.
    """

    config: Config
    status: str = "ok"
    metric: float = math.nan
    train_loss: float = math.nan
    curve: tuple[tuple[float, float], ...] = ()
    groups: int = 0
    seconds: float = 0.0
    probe_seconds: float = 0.0
    steps: int = 0
    engine: str = ""

    @property
    def diverged(self) -> bool:
        """It ended in an error, with a loss that is not finite, or without a finite metric."""
        return self.status != "ok" or not math.isfinite(self.metric)


def parse_run(line: str) -> Run:
    """One result line.

    Raises:
        ValueError: it is not a result.
    """
    try:
        data = json.loads(line)
        return Run(
            config=_config(data["config"]),
            status=data["status"],
            metric=_number(data.get("metric")),
            train_loss=_number(data.get("train_loss")),
            curve=tuple((float(step), _number(loss)) for step, loss in data.get("curve") or ()),
            groups=len(data.get("rates") or ()),
            seconds=float(data.get("seconds") or 0.0),
            probe_seconds=float(data.get("probe_seconds") or 0.0),
            steps=int(data.get("steps") or 0),
            engine=data.get("engine") or "",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a result: {error!r}") from error


def load_runs(folder: Path = RESULTS["main"]) -> tuple[Run, ...]:
    """All runs in a folder's `*.jsonl`; of several with the same config the last one counts.

    A last line cut short (the runner was killed) is passed over.

    Raises:
        ValueError: another line is damaged; the message names file and line.
    """
    found: dict[Config, Run] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for run in _parsed(path, path.read_text(encoding="utf-8").splitlines()):
            found[run.config] = run
    return tuple(found.values())


def _parsed(path: Path, lines: list[str]) -> Iterable[Run]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield parse_run(line)
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number} is damaged ({error}): delete the line") from error


def _config(data: Mapping[str, Any]) -> Config:
    known = {field.name for field in fields(Config)} - {"other"}
    return Config(
        workload=data["workload"],
        optimizer=data["optimizer"],
        method=data["method"],
        seed=int(data["seed"]),
        rate=float(data["rate"]),
        schedule=data.get("schedule", "linear"),
        warmup=float(data.get("warmup", 0.0)),
        multipliers=_items(data.get("multipliers")),
        groups=data.get("groups") or "",
        options=_items(data.get("options")),
        other=tuple(sorted((key, json.dumps(value)) for key, value in data.items() if key not in known and value)),
    )


def _items(value: Any) -> tuple[tuple[str, Any], ...]:
    # Pairs, or an object: JSON has no tuples, and either is a fair way to write a mapping.
    pairs = value.items() if isinstance(value, Mapping) else value or ()
    return tuple(sorted((str(key), item) for key, item in pairs))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)  # "nan" and "inf" too: strict JSON has them as strings
