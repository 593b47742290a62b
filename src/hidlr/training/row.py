"""One run beside others."""

import json
import math
from dataclasses import asdict, dataclass

from hidlr.training.config import RunConfig
from hidlr.training.jsonlines import dump_json
from hidlr.training.result import Result

__all__ = ["Row"]


@dataclass(frozen=True)
class Row:
    """One run beside the others.

    Attributes:
        name: what to call it.
        rate: its rate, or "auto".
        warmup: share of the run that it warmed up over.
        metric: the validation metric that chooses between runs.
        test: the same on the test split (for functions: the distance to the minimum).
        val_loss: validation loss, to tell ties apart; nan if there is none.
        seconds: training time, longer on a busy machine.
        cpu_seconds: the processor's part of it.
        diverged_at: the step whose loss was not finite; None if none was.
    """

    name: str
    rate: float | str
    warmup: float
    metric: float
    test: float
    val_loss: float
    seconds: float
    cpu_seconds: float
    diverged_at: int | None

    @classmethod
    def of(cls, result: Result) -> "Row":
        """A run's row."""
        config = result.config
        return cls(
            name=_name(config),
            rate=config.rate,
            warmup=config.warmup,
            metric=result.score,
            test=result.final[result.test_name],
            val_loss=result.final.get("val_loss", math.nan),
            seconds=result.seconds,
            cpu_seconds=result.cpu_seconds,
            diverged_at=result.diverged_at,
        )

    def to_json(self) -> str:
        """The row as one line of strict JSON."""
        return dump_json(asdict(self)).decode()

    @classmethod
    def from_json(cls, line: str) -> "Row":
        """Inverse of `to_json`.

        Raises:
            ValueError: the line is not a row.
        """
        try:
            data = json.loads(line)
            # nan and infinities were written as strings.
            names = ("warmup", "metric", "test", "val_loss", "seconds", "cpu_seconds")
            numbers = {name: float(data[name]) for name in names}
            return cls(**{**data, **numbers})
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"not a run's row: {error}") from error

    def preference(self, *, higher: bool) -> tuple[float, float]:
        """What a search by hand ranks runs by, largest best: the metric, then the validation loss.

        A few hundred validation images tie often; their loss tells such runs apart.
        """
        metric = self.metric if higher else -self.metric
        broken = self.diverged_at is not None or not math.isfinite(metric)
        return (-math.inf if broken else metric, -self.val_loss if math.isfinite(self.val_loss) else -math.inf)


def _name(config: RunConfig) -> str:
    if config.rate == "auto":
        return "auto" if config.engine == "default" else f"auto ({config.engine})"
    return f"{config.rate:g}, " + (f"{config.warmup:.0%} warm-up" if config.warmup else "cold")
