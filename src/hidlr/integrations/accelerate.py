"""The tuner in a loop prepared by Hugging Face Accelerate."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim.optimizer import Optimizer

from hidlr import HiDLR, InputError, InputTypeError, StepRecord
from hidlr.integrations.ranks import check_ranks
from hidlr.integrations.require import require

__all__ = ["AcceleratedHiDLR"]

_accelerate = require("accelerate", "accelerate", "1.1")


class AcceleratedHiDLR:
    """Gathers the micro-batches of `accelerator.accumulate`, and probes where gradients are synchronised.

    Build it after `accelerator.prepare`, and call `step` right after ``optimizer.step()``, inside the ``accumulate``
    block. It registers itself for `accelerator.save_state` and `load_state`, which then go on bit for bit.

    Args:
        accelerator: the `accelerate.Accelerator`.
        optimizer: what `accelerator.prepare` gave for it.
        build: makes the tuner, called as ``build(optimizer, **options)``; e.g. `HiDLR.paper`.
        **options: for `HiDLR`, such as ``total_steps``, or ``scheduler`` (prepared or not).

    Raises:
        InputTypeError: no accelerator.
        InputError: it shards or steps in a way that cannot be followed; the message says which.

    Attributes:
        tuner: the `HiDLR` at work.

    Example:
        >>> tuner = AcceleratedHiDLR(accelerator, optimizer, total_steps=steps)  # doctest: +SKIP
        >>> for batch in loader:  # doctest: +SKIP
        ...     with accelerator.accumulate(model):
        ...         accelerator.backward(loss_of(model, batch))
        ...         optimizer.step()
        ...         tuner.step(loss_of, model, batch)
        ...         optimizer.zero_grad()
    """

    def __init__(
        self, accelerator: Any, optimizer: Optimizer, *, build: Callable[..., HiDLR] = HiDLR, **options: Any
    ) -> None:
        if not isinstance(accelerator, _accelerate.Accelerator):
            raise InputTypeError(f"AcceleratedHiDLR takes an Accelerator first, not {type(accelerator).__name__}")
        _refuse(accelerator)
        self._accelerator = accelerator
        self.tuner = build(optimizer, **options)
        self._gathered: list[Callable[[], Tensor]] = []
        self._clipped = 1.0
        accelerator.register_for_checkpointing(self)

    def step(self, loss: Callable[..., Tensor], *args: Any, **kwargs: Any) -> StepRecord | None:
        """Take in a micro-batch, and measure if it was the step's last and the step is due.

        Args:
            loss: computes what was given to `accelerator.backward`, forward only.
            *args: of `loss`. Pass the batch here: a lambda over the loop's variable would see the last one only.
            **kwargs: of `loss`.

        Returns:
            The record of the probe; None if there was none.

        Raises:
            Exception: as `HiDLR.step`.
        """
        self._gathered.append(partial(self._share, partial(loss, *args, **kwargs)))
        if not self._accelerator.sync_gradients:
            return None
        closures, self._gathered = self._gathered, []
        clipped, self._clipped = self._clipped, 1.0
        return self.tuner.step(closures, clipped=clipped)

    def clip_grad_norm_(self, parameters: Iterable[Tensor], max_norm: float) -> Any:
        """`accelerator.clip_grad_norm_`, taking note of the factor, as slopes are of the loss."""
        norm = self._accelerator.clip_grad_norm_(list(parameters), max_norm)
        if norm is not None:
            factor = max_norm / (float(norm) + 1e-6)
            self._clipped = factor if 0 < factor < 1 else 1.0
        return norm

    def _share(self, loss: Callable[[], Tensor]) -> Tensor:
        steps: int = self._accelerator.gradient_accumulation_steps
        return loss() / steps  # as accelerator.backward

    @property
    def rates(self) -> dict[str, float]:
        """The rate of each group, by name (units of ``lr``)."""
        return self.tuner.rates

    def state_dict(self) -> dict[str, Any]:
        """The tuner's."""
        return self.tuner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._gathered.clear()
        self.tuner.load_state_dict(state)


def _refuse(accelerator: Any) -> None:
    kind = accelerator.distributed_type.value
    if kind == "DEEPSPEED":
        raise InputError("DeepSpeed takes the optimizer's step inside backward, where nothing can be measured")
    if kind in ("MEGATRON_LM", "XLA", "TP") or (kind == "FSDP" and not accelerator.is_fsdp2):
        raise InputError(f"hidlr has not been made to work with {kind} (version 1): use one device, DDP or FSDP2")
    check_ranks(accelerator.num_processes)
