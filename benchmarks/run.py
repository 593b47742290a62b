"""One run: a frozen config in, a result that is one JSON line out."""

import hashlib
import json
import math
import os
import platform
import statistics
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

import hidlr
from benchmarks import workloads
from benchmarks.control import assemble
from benchmarks.data import MissingDataError
from hidlr.errors import HidlrWarning, InputError
from hidlr.workloads.base import Workload

__all__ = ["Finder", "Result", "RunConfig", "engine_hash", "execute", "failed"]

Result = dict[str, Any]
"""One line of a results file, as plain JSON data."""

Finder = Callable[[str, Path | None], Workload]
"""From a name and the data folder to a workload; importable by name, since processes are spawned."""

Pairs = tuple[tuple[str, float], ...]
Options = tuple[tuple[str, float | str], ...]

_CURVE = 60  # points of the loss curve that a result keeps
_TAIL = 0.05  # share of the steps that the final training loss is a mean over
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on, but for the version of the code.

    Attributes:
        workload: a name in `benchmarks.workloads`.
        optimizer: a name in `benchmarks.optimizers`.
        method: "uniform", "hidlr", "paper" (GeN with one group), or a name in `benchmarks.peers`.
        seed: of the initial weights and the batches.
        rate: uniform and heuristics: the peak; hidlr and paper: the start; peers: their documented default (lr).
        schedule: "linear", "cosine" or "constant".
        warmup: share of the steps to warm up over; uniform and heuristics only.
        multipliers: fixed factors on the uniform rate, by group.
        groups: grouping; "" is the workload's own choice.
        options: keyword arguments of `hidlr.HiDLR` (or its `paper`); `total_steps` may be "unknown".

    Example:
        >>> config = RunConfig("digits-vit", "adamw", "hidlr", seed=0, rate=1e-6, options=(("every", 20),))
        >>> RunConfig.from_dict(config.to_dict()) == config
        True
    """

    workload: str
    optimizer: str
    method: str
    seed: int
    rate: float
    schedule: str = "linear"
    warmup: float = 0.0
    multipliers: Pairs = ()
    groups: str = ""
    options: Options = ()

    def __post_init__(self) -> None:
        # One form for each meaning: 1 and 1.0, or another order of the same options, are the same run.
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("rate", float(self.rate))
        put("warmup", float(self.warmup))
        put("multipliers", tuple(sorted((str(name), float(factor)) for name, factor in self.multipliers)))
        put(
            "options",
            tuple(sorted((str(k), v if isinstance(v, str) else float(v)) for k, v in self.options)),
        )

    @property
    def pair(self) -> tuple[str, str]:
        """Workload and base optimizer: what a results file is about."""
        return self.workload, self.optimizer

    @property
    def identity(self) -> str:
        """Hash of the config: equal for equal configs, in any process and version of Python."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:20]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in a result's "config"."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`; fields that are absent have their defaults.

        Raises:
            InputError: a field is unknown or misses.
        """
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"a config has no field {sorted(unknown)[0]!r}: was it written by a later version?")
        values = dict(data)
        for name in ("multipliers", "options"):
            values[name] = tuple((key, value) for key, value in values.get(name, ()))
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"not a config ({error}): {dict(data)}") from error


def execute(config: RunConfig, data: Path | None = None, *, find: Finder = workloads.get) -> Result:
    """Do a run; whatever goes wrong within it is its result.

    Args:
        config: what to run.
        data: the data folder.
        find: where workloads come from.

    Returns:
        Plain data: the config, status ("ok", "diverged" or "error"), metrics, losses, tuned rates, what it cost.

    Raises:
        MissingDataError: the workload's data is absent: no fault of the run.
        ImportError: a package is absent: no fault of the run.
        InputError: there is no such workload.
    """
    torch.set_num_threads(1)
    workload = _workload(find, config.workload, data)
    try:
        _warm_up(config, workload)
        return _result(config, _train(config, workload))
    except (ImportError, MissingDataError):
        raise
    except Exception as error:  # noqa: BLE001
        return failed(config, _told(error))


def failed(config: RunConfig, note: str) -> Result:
    """The result of a run that came to no end."""
    return _result(config, {"status": "error", "note": note})


@cache
def engine_hash() -> str:
    """Hash of the source of what chooses hidlr's rates: `hidlr.engines` and `hidlr.tuner`."""
    folder = Path(hidlr.__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted((folder / "engines").glob("*.py")), folder / "tuner.py"]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _train(config: RunConfig, workload: Workload) -> dict[str, Any]:
    steps = workload.defaults.steps
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", HidlrWarning)
        torch.manual_seed(config.seed)
        model, trainer = assemble(config, workload)
        _reset_peak()
        losses: list[float] = []
        seconds = 0.0
        while len(losses) < steps:
            batch = workload.batch(len(losses), config.seed)
            began = time.perf_counter()
            loss = trainer.step(partial(workload.loss, model, batch))
            seconds += time.perf_counter() - began
            if not math.isfinite(loss):
                break
            losses.append(loss)
        peak = _peak_memory()
        trainer.before_evaluate(
            partial(workload.loss, model, workload.batch(steps + number, config.seed))
            for number in range(trainer.forwards_before_evaluate)
        )
        metrics = {name: _finite(value) for name, value in workload.evaluate(model).items()}
    metric = metrics[workload.metric_name]
    complete = len(losses) == steps
    return {
        "status": "ok" if complete and metric is not None else "diverged",
        "note": "; ".join(dict.fromkeys(str(warning.message) for warning in caught)),
        "metrics": metrics,
        "metric": metric,
        "train_loss": _finite(statistics.fmean(losses[-max(1, round(_TAIL * steps)) :])) if complete else None,
        "curve": _curve(losses, max(1, math.ceil(steps / _CURVE))),
        "rates": {name: _finite(rate) for name, rate in trainer.tuned().items()},
        "seconds": round(seconds, 4),
        "probe_seconds": round(trainer.probe_seconds, 4),
        "forwards": trainer.forwards,
        "steps": len(losses),
        "peak_memory_mb": peak,
    }


def _curve(losses: Sequence[float], length: int) -> list[list[float | None]]:
    """Number of steps done, and the mean loss since the entry before."""
    ends = [min(at + length, len(losses)) for at in range(0, len(losses), length)]
    return [[end, _finite(statistics.fmean(losses[at:end]))] for at, end in zip([0, *ends], ends, strict=False)]


@lru_cache(maxsize=4)
def _workload(find: Finder, name: str, data: Path | None) -> Workload:
    return find(name, data)


_warm: set[tuple[str, str, str]] = set()


def _warm_up(config: RunConfig, workload: Workload) -> None:
    """Import what torch imports lazily, outside of the time that is measured: one step of a model thrown away."""
    key = (config.workload, config.optimizer, config.method)
    if key in _warm:
        return
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, trainer = assemble(config, workload)
        trainer.step(partial(workload.loss, model, workload.batch(0, config.seed)))
    _warm.add(key)


def _result(config: RunConfig, found: Mapping[str, Any]) -> Result:
    nothing: Result = {
        "status": "error", "note": "", "metrics": {}, "metric": None, "train_loss": None, "curve": [], "rates": {},
        "seconds": 0.0, "probe_seconds": 0.0, "forwards": 0, "steps": 0, "peak_memory_mb": None,
    }  # fmt: skip
    return {
        "config": config.to_dict(),
        **nothing,
        **found,
        "engine": engine_hash(),
        "versions": _versions(),
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "machine": platform.machine()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _told(error: Exception) -> str:
    """The error and the line it came from, without folders, which are no one's business in a results file."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _finite(value: float) -> float | None:
    """The number in six digits; None if JSON has no word for it."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


@cache
def _versions() -> dict[str, str | None]:
    packages = ("hidlr", "torch", "numpy", "scikit-learn", "transformers", "peft", "pytorch_optimizer")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _reset_peak() -> None:
    """Forget the peak of runs before this one, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory() -> float | None:
    """Peak resident memory of the process (MiB): of this run, or of the process where it cannot be reset."""
    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return round(kilobytes / 1024, 1)
    except (OSError, StopIteration, ValueError):
        import resource  # not on Windows

        unit = 1 if sys.platform == "darwin" else 1024
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MEGABYTE, 1)
