"""What a run is: everything that decides its numbers, and nothing else."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from hidlr.errors import InputError, StateError
from hidlr.workloads import Workload, get

__all__ = ["ENGINES", "SCHEDULES", "RunConfig"]

ENGINES = ("default", "paper")
SCHEDULES = ("linear", "cosine", "constant")


@dataclass(frozen=True)
class RunConfig:
    """The settings of a run; None stands for the workload's own choice.

    Attributes:
        workload: name, as in `hidlr.workloads.names()`.
        optimizer: base optimizer, as in `hidlr.training.optimizers.names()`.
        groups: a scheme of `hidlr.param_groups`, or one of the workload's own.
        rate: "auto" lets `hidlr.HiDLR` set one rate per group; a number is a uniform rate (lr).
        start_rate: where "auto" starts (lr).
        steps: optimizer steps.
        seed: of the initial weights, the batches and the paper's random points.
        schedule: what multiplies the rates over the run: "linear", "cosine", "constant".
        warmup: share of the run over which a uniform rate rises from 0; "auto" has its own.
        engine: "default", or "paper" for Algorithm 1 as published.
        overhead: share of training compute that the default engine's probes may add.
        eval_every: steps between evaluations; there is always one at the end.
        checkpoint_every: steps between checkpoints.
        device: torch device.

    Raises:
        InputError: a value that cannot work.

    Example:
        >>> RunConfig("ellipse", rate=1e-3).resolved().steps
        200
    """

    workload: str
    optimizer: str | None = None
    groups: str | None = None
    rate: float | Literal["auto"] = "auto"
    start_rate: float = 1e-3
    steps: int | None = None
    seed: int = 0
    schedule: str | None = None
    warmup: float = 0.0
    engine: str = "default"
    overhead: float = 0.1
    eval_every: int | None = None
    checkpoint_every: int = 50
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.rate != "auto":
            _require(_positive(self.rate), "rate", self.rate, 'a number above 0, or "auto"')
        _require(_positive(self.start_rate), "start_rate", self.start_rate, "a number above 0")
        for name in ("steps", "eval_every", "checkpoint_every"):
            value = getattr(self, name)
            _require(value is None or value >= 1, name, value, "1 or more")
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")
        _require(self.schedule in (None, *SCHEDULES), "schedule", self.schedule, " or ".join(SCHEDULES))
        _require(self.engine in ENGINES, "engine", self.engine, " or ".join(ENGINES))
        _require(0 <= self.warmup < 1, "warmup", self.warmup, "a share of the run, 0 up to 1")
        _require(self.overhead > 0, "overhead", self.overhead, "a share of training compute above 0")
        if self.rate == "auto" and self.warmup:
            raise InputError(
                f'warmup={self.warmup} is for a uniform rate; rate="auto" has a warm-up of its own. '
                "Leave one of them out."
            )

    def resolved(self, workload: Workload | None = None) -> "RunConfig":
        """The same with the workload's choices in place of every None."""
        own = (workload or get(self.workload)).defaults
        steps = self.steps or own.steps
        return replace(
            self,
            optimizer=self.optimizer or own.optimizer,
            groups=self.groups or own.groups,
            steps=steps,
            schedule=self.schedule or own.schedule,
            eval_every=self.eval_every or max(1, steps // 15),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `run.json`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "RunConfig":
        """Inverse of `to_dict`.

        Raises:
            StateError: an entry is unknown or has an impossible value.
        """
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            raise StateError(f"unknown settings {', '.join(unknown)}: written by another version of hidlr?")
        try:
            return cls(**data)
        except TypeError as error:
            raise StateError(f"not the settings of a run ({error})") from error

    def differences(self, other: "RunConfig") -> list[str]:
        """One line for each setting in which two runs differ, theirs second."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{key}: {mine[key]!r} here, {theirs[key]!r} there" for key in mine if mine[key] != theirs[key]]


def _positive(value: float) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def _require(met: bool, name: str, value: object, wanted: str) -> None:
    if not met:
        raise InputError(f"{name}={value!r} cannot work: use {wanted}.")
