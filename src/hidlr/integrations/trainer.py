"""Hugging Face's Trainer with a rate per group that nobody has to set."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hidlr import HiDLR, InputError
from hidlr.compatibility import unwrapped
from hidlr.groups import By
from hidlr.integrations.files import load_state, save_state
from hidlr.integrations.ranks import check_ranks
from hidlr.integrations.regrouping import regroup
from hidlr.integrations.require import require

__all__ = ["HiDLRMixin", "HiDLRTrainer"]

# 4.57: the loss of a last, shorter accumulation is divided by its own number of micro-batches, as here.
_transformers = require("transformers", "hf", "4.57")
_Trainer: Any = _transformers.Trainer
_TrainerCallback: Any = _transformers.TrainerCallback
_STATE = "hidlr.pt"
_FUSED_BACKWARD = ("lomo", "adalomo")

if TYPE_CHECKING:
    _Mixed = Any  # whatever Trainer it is mixed into
else:
    _Mixed = object


class HiDLRMixin(_Mixed):  # type: ignore[misc]
    """Put it before any subclass of `transformers.Trainer`: ``class Mine(HiDLRMixin, SFTTrainer): ...``.

    The optimizer that the Trainer builds is divided into groups, and each group's rate is tuned beneath
    `TrainingArguments.lr_scheduler_type`; ``learning_rate`` is only a start. An optimizer passed as ``optimizers=``
    keeps its own groups. Checkpoints hold the tuner (``hidlr.pt``), and ``resume_from_checkpoint`` goes on bit for
    bit. Logs have ``learning_rate/GROUP`` beside ``learning_rate``, which is the first group's.

    Args:
        *args: go to the Trainer.
        by: how to group, as for `hidlr.param_groups`.
        build: makes the tuner, called as ``build(optimizer, total_steps=..., scheduler=...)``; e.g.
            ``functools.partial(HiDLR, overhead=0.05)``, or `HiDLR.paper`.
        **kwargs: go to the Trainer.

    Raises:
        InputError: the Trainer is set up in a way that hidlr cannot follow; the message says which.

    Attributes:
        tuner: the `HiDLR` at work; None before `train`.
    """

    def __init__(self, *args: Any, by: By = "role", build: Callable[..., HiDLR] = HiDLR, **kwargs: Any) -> None:
        self.tuner: HiDLR | None = None
        self._by, self._build = by, build
        self._micro_batches: list[Any] = []
        self._items: Any = None
        self._clipped = 1.0
        self._shown: dict[str, float] = {}
        super().__init__(*args, **kwargs)
        _refuse(self)
        self.add_callback(_Callback(self))

    # -- what the Trainer calls, in its order ---------------------------------------------------

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Build the Trainer's optimizer, and divide it into groups."""
        ours = self.optimizer is None
        super().create_optimizer(*args, **kwargs)
        if ours:
            regroup(self.optimizer, args[0] if args and args[0] is not None else self.model, self._by)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Build the Trainer's scheduler, and the tuner that composes with it."""
        scheduler = super().create_scheduler(num_training_steps, optimizer)
        if self.tuner is not None:
            self.tuner.detach()  # train() was called before
        self.tuner = self._build(unwrapped(self.optimizer), total_steps=num_training_steps, scheduler=scheduler)
        return scheduler

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Keep the micro-batches of the step: callbacks are not told."""
        self._micro_batches, self._items = found = super().get_batch_samples(*args, **kwargs)
        return found

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Take note of how far the gradients are about to be clipped."""
        loss = super().training_step(*args, **kwargs)
        self._clipped = 1.0
        if self.accelerator.sync_gradients and self.args.max_grad_norm and self.tuner is not None and self.tuner.due:
            self._clipped = self._clipping()
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add each group's rate beside ``learning_rate``, which is the first group's."""
        if "learning_rate" in logs:
            logs = {**logs, **{f"learning_rate/{name}": rate for name, rate in self._shown.items()}}
        super().log(logs, *args, **kwargs)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save and self.tuner is not None:
            save_state(Path(output_dir) / _STATE, self.tuner.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and self.tuner is not None:
            self.tuner.load_state_dict(load_state(Path(checkpoint) / _STATE))

    # -- the probe ------------------------------------------------------------------------------

    def _probe(self) -> None:
        assert self.tuner is not None
        self.tuner.step([partial(self._micro_loss, batch) for batch in self._micro_batches], clipped=self._clipped)
        self._shown = self.tuner.rates  # before the scheduler moves on, as the Trainer's own learning_rate

    def _micro_loss(self, batch: Any) -> Tensor:
        """The loss that `training_step` differentiates, with its normalisation."""
        with self.compute_loss_context_manager():
            loss = self.compute_loss(
                self.model_wrapped, self._prepare_inputs(batch), num_items_in_batch=self._items
            ).mean()  # over the devices of a DataParallel
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            by_items = self.model_accepts_loss_kwargs and self._items is not None
            scaled = by_items or self.compute_loss_func is not None
        result: Tensor = loss if scaled else loss / self.current_gradient_accumulation_steps
        return result

    def _clipping(self) -> float:
        """What `max_grad_norm` is about to multiply the gradients with."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None:
            norm /= scaler.get_scale()
        factor = self.args.max_grad_norm / (norm + 1e-6)
        return factor if 0 < factor < 1 else 1.0  # an infinite norm: the step will be skipped, or its loss refused


class HiDLRTrainer(HiDLRMixin, _Trainer):  # type: ignore[misc]
    """`transformers.Trainer` with `HiDLRMixin`: takes the arguments of both.

    Example:
        >>> trainer = HiDLRTrainer(model=model, args=args, train_dataset=train, by="role")  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> print(trainer.tuner.summary())  # doctest: +SKIP
    """


class _Callback(_TrainerCallback):  # type: ignore[misc]
    """Calls the probe in the slot between ``optimizer.step()`` and ``lr_scheduler.step()``."""

    def __init__(self, trainer: HiDLRMixin) -> None:
        self._trainer = trainer

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        self._trainer._probe()


def _refuse(trainer: Any) -> None:
    reason = None
    if trainer.is_deepspeed_enabled:
        reason = "DeepSpeed takes the optimizer's step inside its own engine, where nothing can be measured"
    elif trainer.is_fsdp_enabled:
        reason = "under the Trainer, FSDP has not been tested"
    elif str(getattr(trainer.args.optim, "value", trainer.args.optim)) in _FUSED_BACKWARD:
        reason = f"optim={trainer.args.optim.value!r} steps within backward"
    elif trainer.args.optim.value.endswith("_layerwise"):
        reason = f"optim={trainer.args.optim.value!r} steps layer by layer within backward"
    elif getattr(trainer.accelerator, "parallelism_config", None) is not None:
        reason = "parallelism_config (tensor, context and sequence parallelism) has not been tested"
    check_ranks(trainer.args.world_size)
    if reason is not None:
        raise InputError(f"HiDLRTrainer cannot be used here: {reason}. Use the plain Trainer, or one device or DDP.")
