"""What each integration adds to a probed run: the same steps in a plain loop, with and without the tuner.

    python -m benchmarks.integrations      # about two minutes; writes benchmarks/results/integrations.json

Every run trains the same small BERT on the same batches with the same rates of the tuner. An integration's overhead is
what the tuner adds to its own bare run; it should be what the tuner adds to the plain loop. Times are of the processor
on one thread, bare and tuned runs take turns, and the fastest of each counts: the machine may be busy otherwise.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
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


class Timed(HiDLR):
    """Counts the processor's time in `step`."""

    seconds = 0.0

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """As `HiDLR.step`."""
        began = time.process_time()
        try:
            return super().step(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - began


def _probe_seconds(tuner: Any) -> float:
    return 0.0 if tuner is None else float(tuner.seconds)


def _optimizer(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(param_groups(model, "role"), lr=1e-3, weight_decay=0.0)


def plain(*, tuned: bool) -> tuple[float, float]:
    """The loop as in the README."""
    model, loader = _model().train(), _loader()
    optimizer = _optimizer(model)
    tuner = Timed(optimizer, total_steps=STEPS) if tuned else None
    began = time.process_time()
    for batch in loader:
        model(**batch).loss.backward()
        optimizer.step()
        if tuner is not None:
            tuner.step(lambda batch=batch: model(**batch).loss)
        optimizer.zero_grad()
    return time.process_time() - began, _probe_seconds(tuner)


def trainer(*, tuned: bool) -> tuple[float, float]:
    """Hugging Face's Trainer."""
    from transformers import Trainer, TrainingArguments

    from hidlr.integrations import HiDLRTrainer

    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            output_dir=folder, max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=1e-3, report_to=[],
            save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True, max_grad_norm=0.0,
            optim="adamw_torch",
        )  # fmt: skip
        kind = partial(HiDLRTrainer, build=Timed) if tuned else Trainer
        it = kind(model=_model(), args=args, train_dataset=_rows())
        began = time.process_time()
        it.train()
        return time.process_time() - began, _probe_seconds(it.tuner if tuned else None)


def accelerate(*, tuned: bool) -> tuple[float, float]:
    """A loop prepared by Accelerate."""
    from accelerate import Accelerator

    from hidlr.integrations import AcceleratedHiDLR

    accelerator = Accelerator(cpu=True)
    model = _model().train()
    model, optimizer, loader = accelerator.prepare(model, _optimizer(model), _loader())
    tuner = AcceleratedHiDLR(accelerator, optimizer, build=Timed, total_steps=STEPS) if tuned else None

    def loss(batch: Any) -> Any:
        return model(**batch).loss

    began = time.process_time()
    for batch in loader:
        with accelerator.accumulate(model):
            accelerator.backward(loss(batch))
            optimizer.step()
            if tuner is not None:
                tuner.step(loss, batch)
            optimizer.zero_grad()
    return time.process_time() - began, _probe_seconds(tuner.tuner if tuner is not None else None)


def lightning(*, tuned: bool) -> tuple[float, float]:
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

    callback = HiDLRCallback(lambda module, batch: module.model(**batch).loss, build=Timed)
    with tempfile.TemporaryDirectory() as folder:
        it = pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            callbacks=[callback] if tuned else [],
        )  # fmt: skip
        module, loader = Module(), _loader()
        began = time.process_time()
        it.fit(module, loader)
        return time.process_time() - began, _probe_seconds(callback.tuner if tuned else None)


RUNS: dict[str, Callable[..., tuple[float, float]]] = {
    "plain loop": plain,
    "HF Trainer": trainer,
    "Accelerate": accelerate,
    "Lightning": lightning,
}


def measure(repeats: int) -> list[dict[str, Any]]:
    """Bare and tuned runs of each, in turn."""
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in RUNS}
    for _ in range(repeats):
        for name, run in RUNS.items():
            bare, _ = run(tuned=False)
            tuned, probes = run(tuned=True)
            seen[name].append((bare, tuned, probes))
    found = []
    for name, runs in seen.items():
        bare, tuned, probes = (min(values) for values in zip(*runs, strict=True))
        found.append(
            {
                "integration": name,
                "bare_seconds": bare,
                "probes": probes / bare,
                # What is not in `HiDLR.step`: hooks around the optimizer's step, callbacks, keeping batches.
                "added": (tuned - probes) / bare - 1,
                "total": tuned / bare - 1,
            }
        )
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
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
