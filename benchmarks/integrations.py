"""What the tuner costs in each integration, beside the plain loop.

    python -m benchmarks.integrations      # a few minutes; writes benchmarks/results/integrations.json

Every run trains the same small BERT on the same batches. Within a run the processor's time in hidlr is counted (the
probes, the hooks around the optimizer's step, the integration's own callbacks) and held against the rest of the same
run, so that a busy machine slows both alike; the median of a few runs counts.
"""

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from hidlr import HiDLR, param_groups

RESULT = Path(__file__).parent / "results" / "integrations.json"
STEPS, BATCH, LENGTH, WORDS = 120, 16, 32, 500


def _model() -> Any:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=4, intermediate_size=512, vocab_size=WORDS,
        max_position_embeddings=LENGTH, num_labels=2,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def _rows() -> list[dict[str, Any]]:
    ids = torch.randint(5, WORDS, (STEPS * BATCH, LENGTH), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": int((row < WORDS / 2).sum() > LENGTH / 2)} for row in ids]


def _loader() -> Any:
    return torch.utils.data.DataLoader(_rows(), batch_size=BATCH)  # type: ignore[arg-type]


class Clock:
    """The processor's time in some functions, counted once where they call each other."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return function(*args, **kwargs)
            self._inside, began = True, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.process_time() - began
                self._inside = False

        return timed

    def watch(self, owner: Any, *names: str) -> None:
        """Time an object's methods."""
        for name in names:
            setattr(owner, name, self.around(getattr(owner, name)))

    def tuner(self, *args: Any, **kwargs: Any) -> HiDLR:
        """A `HiDLR` that is timed, its hooks included."""
        clock = self

        class Timed(HiDLR):
            step = clock.around(HiDLR.step)
            _before_step = clock.around(HiDLR._before_step)
            _after_step = clock.around(HiDLR._after_step)

        return Timed(*args, **kwargs)


def _optimizer(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(param_groups(model, "role"), lr=1e-3, weight_decay=0.0)


def plain(clock: Clock) -> float:
    """The loop as in the README."""
    model, loader = _model().train(), _loader()
    optimizer = _optimizer(model)
    tuner = clock.tuner(optimizer, total_steps=STEPS)
    began = time.process_time()
    for batch in loader:
        model(**batch).loss.backward()
        optimizer.step()
        tuner.step(lambda batch=batch: model(**batch).loss)
        optimizer.zero_grad()
    return time.process_time() - began


def trainer(clock: Clock) -> float:
    """Hugging Face's Trainer."""
    from transformers import TrainingArguments

    from hidlr.integrations import HiDLRTrainer

    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder, max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=1e-3, report_to=[],
            save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True, max_grad_norm=0.0,
            optim="adamw_torch",
        )  # fmt: skip
        it = HiDLRTrainer(model=_model(), args=args, train_dataset=_rows(), build=clock.tuner)
        clock.watch(it, "_probe", "_clipping")
        began = time.process_time()
        it.train()
        return time.process_time() - began


def accelerate(clock: Clock) -> float:
    """A loop prepared by Accelerate."""
    from accelerate import Accelerator

    from hidlr.integrations import AcceleratedHiDLR

    accelerator = Accelerator(cpu=True)
    model = _model().train()
    model, optimizer, loader = accelerator.prepare(model, _optimizer(model), _loader())
    tuner = AcceleratedHiDLR(accelerator, optimizer, build=clock.tuner, total_steps=STEPS)
    clock.watch(tuner, "step")

    def loss(batch: Any) -> Any:
        return model(**batch).loss

    began = time.process_time()
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(loss(batch))
            optimizer.step()
            tuner.step(loss, batch)
            optimizer.zero_grad()
    return time.process_time() - began


def lightning(clock: Clock) -> float:
    """Lightning's Trainer in automatic optimisation."""
    import lightning.pytorch as pl

    from hidlr.integrations import HiDLRCallback

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = _model().train()

        def training_step(self, batch: Any, index: int) -> Any:
            return self.model(**batch).loss

        def configure_optimizers(self) -> Any:
            return _optimizer(self.model)

    callback = HiDLRCallback(lambda module, batch: module.model(**batch).loss, build=clock.tuner)
    clock.watch(callback, "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end")
    with tempfile.TemporaryDirectory() as folder:
        it = pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            callbacks=[callback],
        )  # fmt: skip
        module, loader = Module(), _loader()
        began = time.process_time()
        it.fit(module, loader)
        return time.process_time() - began


RUNS: dict[str, Callable[[Clock], float]] = {
    "plain loop": plain,
    "HF Trainer": trainer,
    "Accelerate": accelerate,
    "Lightning": lightning,
}


def measure(repeats: int) -> list[dict[str, Any]]:
    """Runs of each, in turn."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in RUNS}
    for _ in range(repeats):
        for name, run in RUNS.items():
            clock = Clock()
            whole = run(clock)
            seen[name].append((whole - clock.seconds, clock.seconds))
    return [
        {
            "integration": name,
            "rest_seconds": statistics.median(rest for rest, _ in runs),
            "share": statistics.median(own / rest for rest, own in runs),
        }
        for name, runs in seen.items()
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = {
        "command": "python -m benchmarks.integrations",
        "machine": describe(),
        "steps": STEPS,
        "repeats": repeats,
        "runs": measure(repeats),
    }
    RESULT.write_text(json.dumps(data, indent=1) + "\n")
    print(json.dumps(data["runs"], indent=1))


if __name__ == "__main__":
    main()
