"""What a tuner finds, in the place where people look at their runs."""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from hidlr import HidlrWarning, History, StepRecord
from hidlr.integrations.require import require

__all__ = [
    "Logger",
    "LoggingHistory",
    "MLflowLogger",
    "TensorBoardLogger",
    "TrackioLogger",
    "WandbLogger",
    "scalars",
]


class Logger(Protocol):
    """Where scalars go; any object with these two methods will do."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write numbers of one optimizer step, by name."""

    def close(self) -> None:
        """Write what still waits."""


class LoggingHistory(History):
    """A history that also tells a logger; pass it as ``HiDLR(..., history=...)``.

    A logger that fails (its server is down) is reported once, and training goes on.

    Args:
        logger: where the scalars of each record go.
        path: as for `History`.

    Example:
        >>> class Printed:
        ...     def log(self, values, step):
        ...         print(step, values["hidlr/rate/bias"])
        ...
        ...     def close(self):
        ...         pass
        >>> from hidlr import GroupRecord
        >>> LoggingHistory(Printed()).append(StepRecord(7, "track", (GroupRecord("bias", 3, 1e-3, 2e-3),)))
        7 0.002
    """

    def __init__(self, logger: Logger, path: str | Path | None = None) -> None:
        super().__init__(path)
        self._logger = logger
        self._seconds = 0.0
        self._forwards = 0
        self._failed = False

    def append(self, record: StepRecord) -> None:
        """Keep one record, and log its scalars."""
        super().append(record)
        self._seconds += record.seconds
        self._forwards += record.forwards
        cost = {"hidlr/cost/seconds": self._seconds, "hidlr/cost/forwards": float(self._forwards)}
        try:
            self._logger.log({**scalars(record), **cost}, record.step)
        except Exception as error:  # noqa: BLE001  (whatever a client raises must not end a run)
            if not self._failed:
                warnings.warn(
                    f"{type(self._logger).__name__} failed ({error!r}); training goes on, the records are kept",
                    HidlrWarning,
                    stacklevel=2,
                )
            self._failed = True

    def close(self) -> None:
        """Close the file, if one is open, and the logger."""
        super().close()
        self._logger.close()


def scalars(record: StepRecord) -> dict[str, float]:
    """The numbers of a record worth a curve, by name; what was not measured or is not finite is left out.

    Example:
        >>> from hidlr import GroupRecord
        >>> scalars(StepRecord(0, "track", (GroupRecord("a", 3, 1e-3, 2e-3, slope=4.0),), losses=(0.5,)))
        {'hidlr/rate/a': 0.002, 'hidlr/slope/a': 4.0, 'hidlr/loss': 0.5, 'hidlr/schedule': 1.0}
    """
    found: dict[str, float | None] = {}
    for group in record.groups:
        found[f"hidlr/rate/{group.name}"] = group.rate_after
        found[f"hidlr/slope/{group.name}"] = group.slope
        found[f"hidlr/curvature/{group.name}"] = group.curvature
    found["hidlr/loss"] = record.losses[0] if record.losses else None
    found["hidlr/schedule"] = record.factor
    return {name: value for name, value in found.items() if value is not None and math.isfinite(value)}


class TensorBoardLogger:
    """Event files for TensorBoard.

    Args:
        target: a folder, or a `torch.utils.tensorboard.SummaryWriter` of one's own, which is not closed.
    """

    def __init__(self, target: Any) -> None:
        require("tensorboard", "tensorboard", "2.10")
        self._own = isinstance(target, str | Path)
        writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writer = writer(str(target)) if self._own else target

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush, and close the writer if it was made here."""
        self._writer.flush()
        if self._own:
            self._writer.close()


class WandbLogger:
    """Weights & Biases; the curves have the axis ``hidlr/step``, so that other calls of `run.log` do not interfere.

    Args:
        run: what `wandb.init` gave; it is not finished here.
    """

    def __init__(self, run: Any) -> None:
        require("wandb", "wandb", "0.15")
        self._run = run
        run.define_metric("hidlr/step")
        run.define_metric("hidlr/*", step_metric="hidlr/step")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One call for all."""
        self._run.log({**values, "hidlr/step": step})

    def close(self) -> None:
        """Nothing: the run is its owner's."""


class TrackioLogger:
    """Trackio.

    Args:
        run: what `trackio.init` gave; it is not finished here.
    """

    def __init__(self, run: Any) -> None:
        require("trackio", "trackio", "0.2")
        self._run = run

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One call for all."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Nothing: the run is its owner's."""


class MLflowLogger:
    """MLflow metrics; characters that it refuses in names become underscores.

    Args:
        run_id: the run to write to; None is the active one.
    """

    def __init__(self, run_id: str | None = None) -> None:
        self._mlflow = require("mlflow", "mlflow")
        self._run_id = run_id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One call for all."""
        named = {re.sub(r"[^\w\-. /]", "_", name): value for name, value in values.items()}
        self._mlflow.log_metrics(named, step=step, run_id=self._run_id)

    def close(self) -> None:
        """Nothing: the run is its owner's."""
