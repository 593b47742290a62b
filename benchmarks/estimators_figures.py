"""What the raw figures of the study of estimators say: errors against the truth, and the own batch's bias."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.estimators import RESULT

__all__ = ["COSTS", "TARGETS", "Bias", "Errors", "biases", "errors", "read", "steps", "tensor"]

_BAD = 0.5  # relative error beyond which a curvature leads a rate astray (a wrong sign is beyond it too)

COSTS: dict[str, Callable[[int], int]] = {
    "axis both ways": lambda K: 2 * K,
    "axis one way, slope in hand": lambda K: K,
    "rotating: one group a probe": lambda K: 1,
    "random 4K (paper)": lambda K: 4 * K,
    "random signs, 1 draw": lambda K: 3,
    "random signs, 4 draws": lambda K: 12,
    "gradient on each axis": lambda K: 3 * K,
    "exact products": lambda K: 3 + 4 * K,
    "row sums": lambda K: 3,
    "joint both ways": lambda K: 2,
    "joint one way, slope in hand": lambda K: 1,
}
"""Forward-equivalents beyond the training step (a backward counts as two), by number of groups.

The loss and the gradient at the start of the step are in hand. A product with the Hessian goes back through the
gradient's own graph, counted as four forwards, after three for that graph.
"""

TARGETS = {"row sums": "rows", "joint both ways": "total", "joint one way, slope in hand": "total"}
"""What an estimator is held against where that is not the diagonal."""


@dataclass(frozen=True)
class Errors:
    """Relative errors of an estimator at one probe size, one per group and step.

    Attributes:
        own: against the curvature of the step's own batch.
        sample: against that of the training data.
    """

    own: list[float]
    sample: list[float]

    def median(self, side: str) -> float:
        """The median absolute one, of "own" or "sample"."""
        values: list[float] = getattr(self, side)
        return statistics.median(map(abs, values))

    @property
    def bad(self) -> float:
        """Share of errors against the own batch that lead a rate astray."""
        return statistics.mean(abs(error) > _BAD for error in self.own)


def tensor(values: Any) -> Tensor:
    """Numbers of a result line, "nan" and "inf" among them, in float64."""
    if isinstance(values, list):
        return torch.stack([tensor(value) for value in values])
    return torch.tensor(float(values), dtype=torch.float64)


@cache
def read(path: Path = RESULT) -> tuple[dict[str, Any], ...]:
    """The result lines."""
    return tuple(json.loads(line) for line in path.read_text().splitlines())


def steps(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every step that was studied, with its line."""
    for line in read(path):
        if line["part"] == "steps":
            for step in line["steps"]:
                yield line, step


def _parts(matrix: Tensor) -> dict[str, Tensor]:
    return {"diagonal": matrix.diagonal(), "rows": matrix.sum(1), "total": matrix.sum()[None]}


def _measured(estimate: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What one estimate says, by the tables' names."""
    name = estimate["name"]
    if name == "random signs":
        draws = tensor(estimate["draws"])
        yield "random signs, 1 draw", draws[0]
        yield "random signs, 4 draws", draws[:4].mean(0)
        return
    renamed = {
        "axis one way": "axis one way, slope in hand",
        "joint one way": "joint one way, slope in hand",
        "axis gradients": "gradient on each axis",
        "random 4K": "random 4K (paper)",
    }
    key = {"row sums": "rows", "joint both ways": "total", "joint one way": "total"}.get(name, "curvature")
    yield renamed.get(name, name), tensor(estimate[key]).reshape(-1)


def errors(path: Path = RESULT) -> dict[tuple[str, str, float], Errors]:
    """Errors of every estimator, by name, dtype and probe size (0: none is chosen)."""
    found: dict[tuple[str, str, float], Errors] = defaultdict(lambda: Errors([], []))

    def add(key: tuple[str, str, float], value: Tensor, own: Tensor, sample: Tensor) -> None:
        found[key].own.extend(((value - own) / own.abs()).tolist())
        found[key].sample.extend(((value - sample) / sample.abs()).tolist())

    for _, step in steps(path):
        own, sample = (_parts(tensor(step[side]["curvature"])) for side in ("own", "sample"))
        for estimate in step["estimates"]:
            for name, value in _measured(estimate):
                target = TARGETS.get(name, "diagonal")
                add((name, estimate["dtype"], estimate["xi"]), value, own[target], sample[target])
        add(("exact products", "float64", 0.0), own["diagonal"], own["diagonal"], sample["diagonal"])
        window = torch.stack([tensor(probe["curvature"]) for probe in step["window"]])
        groups = window.shape[1]
        for phase in range(groups):  # group k was last measured (k + phase) mod K probes ago
            stale = torch.stack([window[(k + phase) % groups, k] for k in range(groups)])
            add(("rotating: one group a probe", "float32", 1.0), stale, own["diagonal"], sample["diagonal"])
    return dict(found)


@dataclass(frozen=True)
class Bias:
    """Means over steps on their own batch, over those on the training data.

    Attributes:
        line: the moment's result line.
        size: of the batch (rows).
        slope: of the joint slope; infinite where the steps climb on the training data.
        curvature: of the sum of A.
        trace: of the trace of A.
    """

    line: dict[str, Any]
    size: int
    slope: float
    curvature: float
    trace: float

    @property
    def rank(self) -> int:
        """Which of the moment's batch sizes it is, 0 the smallest."""
        return sorted(map(int, self.line["bias"])).index(self.size)


def biases(path: Path = RESULT) -> list[Bias]:
    """The bias of every moment and batch size."""
    found = []
    for line in read(path):
        for size, draws in line.get("bias", {}).items():
            own, wide = (
                {key: sum(float(tensor(draw[side][key]).sum()) for draw in draws) for key in draws[0][side]}
                for side in ("own", "sample")
            )
            slope = own["slope"] / wide["slope"] if wide["slope"] > 0 else math.inf
            trace = own["diagonal"] / wide["diagonal"]
            found.append(Bias(line, int(size), slope, own["total"] / wide["total"], trace))
    return found
