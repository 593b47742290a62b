"""The tuner as a Lightning callback, in automatic and manual optimisation."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hidlr import HiDLR, InputError
from hidlr.groups import By
from hidlr.integrations.ranks import check_ranks
from hidlr.integrations.regrouping import regroup
from hidlr.integrations.require import require

__all__ = ["HiDLRCallback"]

_lightning = require("lightning", "lightning", "2.4")
_Callback: Any = require("lightning.pytorch", "lightning").Callback


class HiDLRCallback(_Callback):  # type: ignore[misc]
    """Tunes the rates of a LightningModule's optimizer; `LearningRateMonitor` shows each group's.

    The optimizer of ``configure_optimizers`` is divided by ``by``, unless its groups have names already. With an LR
    scheduler it must have: build it with ``hidlr.param_groups(self, by=...)``. Checkpoints hold the tuner.

    Args:
        loss_fn: ``loss_fn(module, batch)`` computes the loss that was differentiated, without logging: calling
            ``training_step`` again would log twice. In automatic optimisation it is divided by
            ``accumulate_grad_batches`` here, as Lightning does.
        by: how to group, as for `hidlr.param_groups`.
        build: makes the tuner, called as ``build(optimizer, total_steps=..., scheduler=...)``.

    Attributes:
        tuner: the `HiDLR` at work; None before the fit.

    Example:
        >>> def loss_fn(module, batch):  # doctest: +SKIP
        ...     return module.loss(*batch)
        >>> Trainer(callbacks=[HiDLRCallback(loss_fn)]).fit(module, loader)  # doctest: +SKIP
    """

    def __init__(
        self, loss_fn: Callable[[Any, Any], Tensor], *, by: By = "role", build: Callable[..., HiDLR] = HiDLR
    ) -> None:
        self.tuner: HiDLR | None = None
        self._loss_fn, self._by, self._build = loss_fn, by, build
        self._batches: list[Any] = []
        self._steps = 0  # optimizer steps that were dealt with
        self._clipped = 1.0
        self._restored: Mapping[str, Any] | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Divide the optimizer and build the tuner.

        Raises:
            InputError: several optimizers or schedulers, or a strategy that cannot be followed.
        """
        optimizer, scheduler = _only(trainer)
        if not any(group.get("name") for group in optimizer.param_groups):
            if scheduler is not None:
                raise InputError(
                    "the LR scheduler was built for unnamed groups, which cannot be divided beneath it: in "
                    "configure_optimizers, build the optimizer with hidlr.param_groups(self, by='role')"
                )
            regroup(optimizer, pl_module, self._by)
        batches = trainer.estimated_stepping_batches
        steps = int(batches) if math.isfinite(batches) else None
        if self.tuner is not None:
            self.tuner.detach()  # another fit
        self.tuner = self._build(optimizer, total_steps=steps, scheduler=scheduler)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Go on from a checkpoint: the optimizer's state has been restored by now, the callback's before it."""
        self._batches, self._steps = [], trainer.global_step
        if self._restored is not None and self.tuner is not None:
            self.tuner.load_state_dict(self._restored)
        self._restored = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keep the batch."""
        self._batches.append(batch)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Take note of how far the gradients are about to be clipped."""
        self._clipped = 1.0
        limit = trainer.gradient_clip_val
        if not limit or str(trainer.gradient_clip_algorithm or "norm").rpartition(".")[2].lower() != "norm":
            return
        if self.tuner is not None and self.tuner.due:
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            factor = limit / (float(torch.nn.utils.get_total_norm(gradients)) + 1e-6)
            self._clipped = factor if 0 < factor < 1 else 1.0

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure, if the batch completed an optimizer step and the step is due."""
        assert self.tuner is not None
        if trainer.global_step == self._steps:
            return  # accumulating
        self._steps = trainer.global_step
        batches, self._batches = self._batches, []
        share = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1
        self.tuner.step(
            [partial(self._loss, trainer, pl_module, batch, share) for batch in batches], clipped=self._clipped
        )

    def _loss(self, trainer: Any, module: Any, batch: Any, share: int) -> Tensor:
        with trainer.precision_plugin.train_step_context():
            return self._loss_fn(module, batch) / share

    def state_dict(self) -> dict[str, Any]:
        """The tuner's."""
        return {} if self.tuner is None else self.tuner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until the optimizer's state is restored."""
        self._restored = state_dict or None


def _only(trainer: Any) -> tuple[torch.optim.Optimizer, Any]:
    """The one optimizer and its scheduler, if any.

    Raises:
        InputError: there are several, or the strategy cannot be followed.
    """
    strategy = type(trainer.strategy).__name__
    if "DeepSpeed" in strategy:
        raise InputError("DeepSpeed takes the optimizer's step inside its own engine, where nothing can be measured")
    if strategy in ("FSDPStrategy", "ModelParallelStrategy", "XLAStrategy"):
        raise InputError(f"{strategy} has not been tested with hidlr: use one device or DDP")
    check_ranks(trainer.world_size)
    if len(trainer.optimizers) != 1:
        raise InputError(
            f"the module has {len(trainer.optimizers)} optimizers: hidlr follows one loss, and cannot tell which of "
            "several an optimizer lowers. Give one optimizer several groups, or tune by hand in the module with HiDLR"
        )
    if len(trainer.lr_scheduler_configs) > 1:
        raise InputError("several LR schedulers drive the optimizer: hidlr composes with one")
    configs = trainer.lr_scheduler_configs
    return trainer.optimizers[0], configs[0].scheduler if configs else None
