"""Run folders to look at in a browser, written as a run writes them."""

import math
import random
from pathlib import Path

from hidlr.history import GroupRecord, History, StepRecord
from hidlr.training.jsonlines import JsonLines, dump_json, write_atomically
from support.report_runs import RESULT, ROLES, RUN, metric_lines, record

EXTREMES = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 1e-320)
EVIL = "<img src=x onerror=\"window.harmed = 1; alert('harm')\">"


def usual(folder: Path, *, factor: float = 1.0, seed: int = 0, metric: float = 0.9575) -> Path:
    """A run of 300 steps and six groups, with everything a report can show of it.

    Args:
        folder: where.
        factor: on all rates.
        seed: in its description.
        metric: final accuracy.
    """
    steps = sorted({*range(10), *range(10, 30, 2), *range(30, 300, 10)})
    records = [_scaled(record(step, factor=1 - step / 300, points=step % 50 == 0), factor) for step in steps]
    run = {**RUN, "seed": seed, "argv": ["hidlr", "train", "digits", "--seed", str(seed)]}
    return write(folder, records, metric_lines(300), run, {**RESULT, "final": {**RESULT["final"], "accuracy": metric}})


def named(folder: Path, name: str) -> Path:
    """A run one of whose groups, metrics and settings have this name."""
    records = [record(step, (name, *ROLES[1:]), points=step == 0) for step in range(0, 100, 10)]
    run = {**RUN, "config": {"workload": name, name: name}}
    result = {**RESULT, "final": {name: 0.5}, "metric_name": name, "comparison": [{"name": name, "metric": 0.5}] * 2}
    lines = [{**line, "eval": {name: 0.5}} for line in metric_lines(100)]
    return write(folder, records, lines, run, result)


def layered(folder: Path, groups: int, probes: int) -> Path:
    """A run with a group for each role of each layer."""
    roles = ("attention", "mlp", "norm", "bias")
    names = tuple(f"layer_{index // 4}/{roles[index % 4]}" for index in range(groups))
    return write(folder, [record(10 * probe, names) for probe in range(probes)], metric_lines(10 * probes), RUN, RESULT)


def long(folder: Path, steps: int, *, spike: tuple[int, float], dip: tuple[int, float]) -> Path:
    """A run of many steps, probed at every fiftieth, with a loss and a rate out of line at one step each.

    Args:
        folder: where.
        steps: of training.
        spike: a step and its training loss.
        dip: a probed step and the rate that the first group has after it (lr).
    """
    noise = random.Random(0)
    records = []
    for step in range(0, steps, 50):
        groups = []
        for index, name in enumerate(ROLES):
            level = 10 ** (-2 - index / 2) * (1.1 - math.exp(-step / 5000)) * math.exp(noise.gauss(0, 0.05))
            rate = dip[1] if step == dip[0] and index == 0 else level
            groups.append(GroupRecord(name, 1000, level, rate, 3e-3 / level, 3e-3 / level**2, 1e-7, True))
        records.append(StepRecord(step, "track", tuple(groups), forwards=3, seconds=0.02))
    lines = metric_lines(steps, 1000)
    lines[spike[0]]["loss"] = spike[1]
    return write(folder, records, lines, RUN, RESULT)


def extreme(folder: Path, value: float) -> Path:
    """A run in which every number is this one."""
    groups = tuple(GroupRecord(name, 0, value, value, value, value, value, True) for name in "ab")
    records = [
        StepRecord(step, "", groups, ((0.0, 0.0), (value, 0.0)), (value, 1.0), 2, value, value) for step in range(3)
    ]
    line = {"loss": value, "seconds": value, "probe_seconds": value, "eval": {"a": value}, "point": [value, value]}
    surface = {"x": [0, 1], "y": [0, 1], "z": [[value, 1], [2, 3]], "minimum": [value, 0]}
    result = {"final": {"a": value}, "comparison": [{"name": "hidlr", "metric": value}] * 2, "surface": surface}
    return write(folder, records, [{"step": step, **line} for step in range(3)], {}, result)


def write(
    folder: Path,
    records: list[StepRecord],
    lines: list[dict[str, object]],
    run: dict[str, object],
    result: dict[str, object],
) -> Path:
    """Write a run folder with the library's own writers."""
    folder.mkdir(parents=True)
    history = History(folder / "history.jsonl")
    for entry in records:
        history.append(entry)
    history.close()
    metrics = JsonLines(folder / "metrics.jsonl")
    for line in lines:
        metrics.append(dump_json(line).decode())
    metrics.close()
    write_atomically(folder / "run.json", dump_json(run, indent=2))
    write_atomically(folder / "result.json", dump_json(result, indent=2))
    return folder


def _scaled(entry: StepRecord, factor: float) -> StepRecord:
    from dataclasses import replace

    groups = tuple(replace(group, rate_after=factor * group.rate_after) for group in entry.groups)
    return replace(entry, groups=groups)
