"""What a fine-tuning run came to."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidlr.finetuning.config import FinetuneConfig
from hidlr.reports import Summary

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        config: its settings.
        final: metrics on the dev file.
        labels: names of the labels, in the order of the model's outputs.
        rates: tuned rate of each group, before the schedule (lr).
        steps: optimizer steps taken.
        seconds: training time, probes included, evaluations and files not.
        probe_seconds: the probes' part of it.
        trained: parameters that were trained.
        parameters: parameters there are.
        diverged_at: the step whose loss was not finite, which ended the run; None if none was.
        model: the folder of the saved model or adapter.
        summary: a table of groups.
    """

    config: FinetuneConfig
    final: dict[str, float]
    labels: tuple[str, ...]
    rates: dict[str, float]
    steps: int
    seconds: float
    probe_seconds: float
    trained: int
    parameters: int
    diverged_at: int | None
    model: Path
    summary: Summary

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `result.json` and `--json`."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("config", "summary")}
        return {
            "method": self.config.method,
            **data,
            "labels": list(self.labels),
            "model": str(self.model),
            "metric_name": "dev_accuracy",
            "higher_is_better": True,
        }
