"""What the tests of reports report on."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

from hidlr.history import GroupRecord, History, StepRecord

Writer = Callable[..., Path]

ROLES = ("embedding", "attention", "mlp", "norm", "bias", "head")


def group(name: str = "bias", *, step: int = 0, level: float = 1e-3, seed: int = 0, reason: str = "") -> GroupRecord:
    """A plausible record of one group, whose rate settles at `level`."""
    noise = random.Random(f"{name!a} {step} {seed}")
    warm = 1 - math.exp(-(step + 1) / 40)
    rate = level * (0.05 + warm) * math.exp(noise.gauss(0, 0.03))
    slope = 3.0 / level * math.exp(-step / 400 + noise.gauss(0, 0.4)) * 1e-3
    return GroupRecord(
        name=name,
        size=100 + 7 * len(name),
        rate_before=rate / 1.1,
        rate_after=rate,
        slope=slope,
        curvature=slope / level * math.exp(noise.gauss(0, 0.3)),
        noise=1e-7,
        accepted=not reason,
        reason=reason,
    )


def record(step: int = 0, names: tuple[str, ...] = ROLES, *, factor: float = 1.0, points: bool = False) -> StepRecord:
    """A probe of all groups, every twelfth measurement refused."""
    groups = []
    for index, name in enumerate(names):
        refused = (step // 10 + index) % 12 == 11
        level = factor * 10 ** (-2 - 2.2 * index / max(1, len(names) - 1))
        groups.append(group(name, step=step, level=level, reason="below the noise of the loss" if refused else ""))
    xis: list[tuple[float, ...]] = []
    losses = []
    if points:
        xis, losses = [(0.0,) * len(names)], [2.0]
        for index, entry in enumerate(groups):
            for xi in (-1.0, 0.5, 1.0, 2.0):
                rate = xi * entry.rate_before
                change = -entry.slope * rate + 0.5 * entry.curvature * rate**2
                xis.append(tuple(xi if k == index else 0.0 for k in range(len(names))))
                losses.append(2.0 + change * (1 + 0.05 * (index % 3 - 1)))
    return StepRecord(
        step=step,
        phase="calibrate" if step == 0 else "warm-up" if step < 30 else "track",
        groups=tuple(groups),
        points=tuple(xis),
        losses=tuple(losses),
        forwards=len(xis) or 4,
        seconds=0.02,
        factor=factor,
    )


def metric_lines(steps: int, every: int = 50) -> list[dict[str, object]]:
    """Lines of metrics.jsonl: a loss that falls with noise, and an accuracy now and then."""
    noise = random.Random(0)
    lines: list[dict[str, object]] = []
    for step in range(steps):
        line: dict[str, object] = {
            "step": step,
            "loss": 0.2 + 2.1 * math.exp(-step / (steps / 5)) * math.exp(noise.gauss(0, 0.12)),
            "seconds": 0.05 * (step + 1) + 0.002 * min(step, 60),
            "probe_seconds": 0.004 * (step + 1) + 0.002 * min(step, 60),
        }
        if step % every == every - 1:
            accuracy = 0.97 - 0.8 * math.exp(-step / (steps / 6)) + noise.gauss(0, 0.004)
            line["eval"] = {"accuracy": accuracy, "test_loss": 0.1 + 2 * math.exp(-step / (steps / 6))}
        lines.append(line)
    return lines


def write_folder(folder: Path, records: list[StepRecord], **files: object) -> Path:
    """Write a run folder: records, and any other files as data (objects, or lists of lines)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").touch()
    history = History(folder / "history.jsonl")
    for entry in records:
        history.append(entry)
    history.close()
    for name, data in files.items():
        if isinstance(data, list):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in data))
        else:
            (folder / f"{name}.json").write_text(data if isinstance(data, str) else json.dumps(data))
    return folder


RUN = {
    "config": {
        "workload": "digits",
        "optimizer": "adamw",
        "rate": "auto",
        "steps": 600,
        "schedule": "linear",
        "groups": None,
    },
    "versions": {"python": "3.11.7", "hidlr": "0.1.0", "torch": "2.13.0+cpu"},
    "hardware": {"platform": "Linux-6.1-x86_64", "cpus": 2, "cuda": []},
    "git": "08c36d4",
    "seed": 0,
    "argv": ["hidlr", "train", "digits", "--out", "runs/my run"],
    "metric_name": "accuracy",
}

RESULT = {
    "final": {"accuracy": 0.9575, "test_loss": 0.1311, "train_loss": 0.0912},
    "comparison": [
        {"name": "hidlr", "rate": "auto", "warmup": 0.0, "metric": 0.9575, "loss": 0.1311, "seconds": 41.2},
        {"name": "AdamW, warmed up", "rate": 0.008, "warmup": 0.1, "metric": 0.9525, "loss": 0.145, "seconds": 37.9},
        {"name": "AdamW", "rate": 0.004, "warmup": 0.0, "metric": 0.92, "loss": 0.21, "seconds": 37.5},
    ],
    "metric_name": "accuracy",
    "higher_is_better": True,
}


def rosenbrock(steps: int = 80) -> tuple[dict[str, object], list[dict[str, object]]]:
    """A result with a surface, and metrics with points on a path over it."""
    xs = [-2 + 4 * i / 60 for i in range(61)]
    ys = [-1 + 4 * i / 60 for i in range(61)]
    surface = {
        "name": "rosenbrock",
        "xlim": [-2, 2],
        "ylim": [-1, 3],
        "x": xs,
        "y": ys,
        "z": [[(1 - x) ** 2 + 100 * (y - x * x) ** 2 for x in xs] for y in ys],
        "minimum": [1, 1],
    }
    lines: list[dict[str, object]] = []
    for step in range(steps):
        x = -1.5 + 2.4 * step / steps
        y = x * x + 0.25 * math.cos(step) * math.exp(-step / 20)
        loss = (1 - x) ** 2 + 100 * (y - x * x) ** 2
        lines.append(
            {"step": step, "loss": loss, "seconds": 0.001 * (step + 1), "probe_seconds": 4e-4 * step, "point": [x, y]}
        )
    return {
        "final": {"loss": 0.01, "distance": 0.14},
        "metric_name": "loss",
        "higher_is_better": False,
        "surface": surface,
    }, lines
