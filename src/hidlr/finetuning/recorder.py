"""What the Trainer tells along the way, as lines of metrics.jsonl."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hidlr import History
from hidlr.integrations.require import require
from hidlr.training.jsonlines import JsonLines, dump_json

__all__ = ["Recorder", "Seen"]


@dataclass(frozen=True)
class Seen:
    """One optimizer step.

    Attributes:
        step: steps done.
        steps: length of the run.
        loss: of the step's batch.
        rates: rate of each group at the step (lr).
        evaluation: the latest metrics on the dev file.
    """

    step: int
    steps: int
    loss: float
    rates: dict[str, float]
    evaluation: dict[str, float]


class Recorder:
    """Writes a line per step, and stops the run when the loss is not finite.

    Args:
        out: the run folder.
        history: the tuner's.
        on_step: called after each step.

    Attributes:
        seconds: training time so far, probes included, evaluations not.
        probe_seconds: the probes' part of it.
        diverged_at: the step whose loss was not finite; None while all is well.
    """

    def __init__(self, out: Path, history: History, on_step: Callable[[Seen], None] | None) -> None:
        self.history = history
        self._counted = 0
        self._lines = JsonLines(out / "metrics.jsonl")
        self._on_step = on_step
        self._began = 0.0
        self._loss = math.nan
        self._evaluation: dict[str, float] = {}
        self.seconds = 0.0
        self.probe_seconds = 0.0
        self.diverged_at: int | None = None

    def begin(self) -> None:
        """A step begins."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """It ends."""
        self.seconds += time.perf_counter() - self._began
        for index in range(self._counted, len(self.history)):
            self.probe_seconds += self.history[index].seconds
        self._counted = len(self.history)

    def logged(self, step: int, steps: int, logs: dict[str, float]) -> bool:
        """Take in a log entry; whether the run should stop."""
        if "loss" in logs:
            self._loss = logs["loss"]
            rates = {
                key.removeprefix("learning_rate/"): value for key, value in logs.items() if "learning_rate/" in key
            }
            if not math.isfinite(self._loss):
                self.diverged_at = step - 1
            self._write(step, {})
            if self._on_step is not None:
                self._on_step(Seen(step, steps, self._loss, rates, self._evaluation))
        return self.diverged_at is not None

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """Take in an evaluation."""
        names = ("accuracy", "loss", "f1", "mcc")
        self._evaluation = {f"dev_{name}": metrics[f"eval_{name}"] for name in names if f"eval_{name}" in metrics}
        self._write(step, {"eval": self._evaluation})  # the last line of a step counts

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def callback(self) -> Any:
        """The Trainer's callback that calls all this."""
        return _callback_class()(self)

    def _write(self, step: int, more: dict[str, Any]) -> None:
        line = {"step": max(step - 1, 0), "loss": self._loss, "seconds": round(self.seconds, 6)}
        line["probe_seconds"] = round(self.probe_seconds, 6)
        self._lines.append(dump_json({**line, **more}).decode())


def _callback_class() -> Any:
    base: Any = require("transformers", "hf").TrainerCallback

    class RecorderCallback(base):  # type: ignore[misc]
        def __init__(self, recorder: Recorder) -> None:
            self._recorder = recorder

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self._recorder.begin()

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self._recorder.end()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            if self._recorder.logged(state.global_step, state.max_steps, logs):
                control.should_training_stop = True
                control.should_evaluate = False

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **kwargs: Any) -> None:
            self._recorder.evaluated(state.global_step, metrics)

    return RecorderCallback
