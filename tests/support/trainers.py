"""A Trainer on the tiny task, which keeps what it was fed."""

import copy
import os

import pytest

from support.loops import examples, tiny_bert

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from hidlr.integrations import HiDLRTrainer  # noqa: E402


class Recording(HiDLRTrainer):
    """Keeps the micro-batches of each step, in the order the Trainer shuffled them into."""

    def get_batch_samples(self, *args, **kwargs):
        found = super().get_batch_samples(*args, **kwargs)
        self.seen = [*getattr(self, "seen", []), copy.deepcopy(found[0])]
        return found


def trainer(folder, model=None, kind=Recording, **options):
    ours = {
        key: options.pop(key) for key in ("by", "build", "callbacks", "optimizers", "eval_dataset") if key in options
    }
    settings = {
        "max_steps": 12,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "optim": "adamw_torch",
        **options,
    }
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)  # transformers 4 leaves it behind after a run in bf16
    args = transformers.TrainingArguments(output_dir=str(folder), **settings)
    return kind(model=tiny_bert() if model is None else model, args=args, train_dataset=examples(), **ours)


def trained(*args, **kwargs):
    it = trainer(*args, **kwargs)
    it.train()
    return it


def linear(steps):
    return lambda step: max(0.0, (steps - step) / steps)
