"""What to fine-tune, on what, and for how long."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hidlr.errors import InputError

__all__ = ["METHODS", "FinetuneConfig"]

METHODS = ("full", "lora", "adaptive")


@dataclass(frozen=True)
class FinetuneConfig:
    """The settings of a fine-tuning run; there is no learning rate among them.

    Attributes:
        model: a folder written by `save_pretrained`, or a name on the hub.
        train: .tsv, .csv or .jsonl with the examples to learn from.
        dev: the same with those to be judged by.
        method: "full" (every parameter), "lora" (adapters and the head), "adaptive" (what matters most).
        budget: share of the parameters that "adaptive" may train.
        epochs: passes over the examples, unless `steps` is given.
        steps: optimizer steps instead.
        text: columns of the text, one or two; empty: by their usual names.
        label: column of the label; None: by its usual name.
        batch_size: examples per step.
        max_length: tokens per example; what is longer is cut.
        rank: of the LoRA adapters.
        overhead: share of the compute that probes may add.
        seed: of the head, the order and dropout.
    """

    model: str
    train: Path
    dev: Path
    method: str = "full"
    budget: float = 0.01
    epochs: float = 3.0
    steps: int | None = None
    text: tuple[str, ...] = ()
    label: str | None = None
    batch_size: int = 16
    max_length: int = 128
    rank: int = 8
    overhead: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method {self.method!r}: choose from {', '.join(METHODS)}")
        if not 0 < self.budget <= 1:
            raise InputError(
                f"budget {self.budget:g}: a share of the parameters above 0 and at most 1, e.g. 1% or 0.01"
            )
        if len(self.text) > 2:
            raise InputError(f"{len(self.text)} text columns: give one, or two for pairs of sentences")
        if self.steps is None and not self.epochs > 0:
            raise InputError(f"epochs {self.epochs:g}: must be above 0")
        for name in ("steps", "batch_size", "max_length", "rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} {value}: must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `run.json`."""
        return {**asdict(self), "train": str(self.train), "dev": str(self.dev), "text": list(self.text)}
