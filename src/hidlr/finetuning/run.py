"""The run: files to a trained model in a folder that `hidlr report` can read."""

from collections.abc import Callable
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hidlr import HiDLR, HidlrError, History, InputError
from hidlr.finetuning.classifier import choose_parameters, load
from hidlr.finetuning.config import FinetuneConfig
from hidlr.finetuning.data import Examples, encode, first_batches
from hidlr.finetuning.labels import label_names, numbered
from hidlr.finetuning.metrics import classification_metrics
from hidlr.finetuning.outcome import Outcome
from hidlr.finetuning.recorder import Recorder, Seen
from hidlr.finetuning.table import read_table
from hidlr.integrations.require import require
from hidlr.training.environment import describe
from hidlr.training.jsonlines import dump_json, write_atomically

__all__ = ["finetune"]

_START = 5e-5  # what people take for fine-tuning, should a measurement fail; any start will do
_EVALUATIONS = 5
_MEASURED = 24  # batches


def finetune(config: FinetuneConfig, out: Path, *, on_step: Callable[[Seen], None] | None = None) -> Outcome:
    """Fine-tune a classifier; rates are found as it goes.

    Args:
        config: the settings.
        out: the run folder, empty or new.
        on_step: called after each optimizer step.

    Returns:
        The outcome. The folder holds the model (`model/`), run.json, metrics.jsonl, history.jsonl, influence.json
        and result.json.

    Raises:
        InputError: a file, column, label or model that cannot be used, or `out` is not empty.
        MissingExtraError: a package is absent.
        HidlrError: `out` cannot be written.
    """
    transformers = require("transformers", "hf", "4.57")
    require("accelerate", "hf")
    train, dev = (read_table(path, config.text, config.label) for path in (config.train, config.dev))
    if dev.columns != train.columns:
        dev = read_table(config.dev, train.columns[:-1], train.columns[-1])
    names = label_names(train.labels, config.train)
    numbers = numbered(train.labels, names, config.train), numbered(dev.labels, names, config.dev)

    transformers.set_seed(config.seed)
    model, tokenizer = load(config, names)
    _make(out, config)
    data, judge = (encode(config, tokenizer, *pair) for pair in zip((train, dev), numbers, strict=True))
    collate = transformers.DataCollatorWithPadding(tokenizer)
    model = choose_parameters(config, model, lambda: first_batches(config, data, collate, _MEASURED), out)
    recorder = Recorder(out, History(out / "history.jsonl"), on_step)
    trainer = _trainer(config, model, data, judge, collate, out, recorder)
    trainer.add_callback(recorder.callback())
    trainer.train()
    return _finish(config, trainer, tokenizer, names, out, recorder)


def _make(out: Path, config: FinetuneConfig) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise InputError(f"{out} is not empty: name another folder")
        write_atomically(
            out / "run.json",
            dump_json({"config": {"workload": "finetune", **config.to_dict()}, **describe()}, indent=2),
        )
    except OSError as error:
        raise HidlrError(f"{out} cannot be written ({error.strerror or error}): name a folder elsewhere") from error


def _trainer(
    config: FinetuneConfig,
    model: nn.Module,
    data: Examples,
    judge: Examples,
    collate: Any,
    out: Path,
    recorder: Recorder,
) -> Any:
    from transformers import PrinterCallback, TrainingArguments

    from hidlr.integrations.trainer import HiDLRTrainer

    per_epoch = ceil(len(data) / config.batch_size)
    steps = config.steps or ceil(config.epochs * per_epoch)
    args = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=4 * config.batch_size,
        learning_rate=_START,
        weight_decay=0.0,  # else the head would be two groups
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=max(1, ceil(steps / _EVALUATIONS)),
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = HiDLRTrainer(
        model=model,
        args=args,
        train_dataset=data,
        eval_dataset=judge,
        data_collator=collate,
        compute_metrics=lambda found: classification_metrics(_scores(found.predictions), found.label_ids),
        by="role",
        build=partial(HiDLR, overhead=config.overhead, history=recorder.history),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _finish(
    config: FinetuneConfig, trainer: Any, tokenizer: Any, names: list[str], out: Path, recorder: Recorder
) -> Outcome:
    found = trainer.evaluate() if recorder.diverged_at is None else {}
    final = {f"dev_{name}": float(found[f"eval_{name}"]) for name in ("accuracy", "loss", "f1", "mcc") if found}
    tuner: HiDLR = trainer.tuner
    summary = tuner.summary()
    try:
        trainer.model.save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
        outcome = Outcome(
            config=config,
            final=final,
            labels=tuple(names),
            rates={row.name: row.rate for row in summary.rows},
            steps=trainer.state.global_step,
            seconds=recorder.seconds,
            probe_seconds=recorder.probe_seconds,
            trained=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            parameters=sum(p.numel() for p in trainer.model.parameters()),
            diverged_at=recorder.diverged_at,
            model=out / "model",
            summary=summary,
        )
        recorder.close()
        tuner.history.close()
        (out / "history.jsonl").touch()
        write_atomically(out / "influence.json", dump_json(tuner.influence().to_dict(), indent=2))
        write_atomically(out / "result.json", dump_json(outcome.to_dict(), indent=2))
    except OSError as error:
        raise HidlrError(f"{out} cannot be written ({error.strerror or error}): is the disk full?") from error
    return outcome


def _scores(predictions: Any) -> Any:
    """The logits, where a model (T5, BART) returns more than those."""
    return predictions[0] if isinstance(predictions, tuple) else predictions
