"""A closure run with gradients, where a measurement without a training loop needs them."""

from typing import Any

import torch
from torch import Tensor

from hidlr.errors import ClosureError
from hidlr.probe.probe import Closure

__all__ = ["differentiate"]


def differentiate(closure: Closure, caller: str) -> None:
    """Run a closure and its backward pass; gradients are added to those that are there.

    Args:
        closure: computes the loss of one batch.
        caller: who asks, for the message.

    Raises:
        ClosureError: what it returns is no scalar loss connected to parameters.
    """
    with torch.enable_grad():
        loss: Any = closure()
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad):
            raise ClosureError(
                f"{caller} needs a closure that returns a scalar loss connected to the parameters, "
                "`lambda: loss_fn(model(x), y)`, without no_grad, .item() or backward()"
            )
        loss.backward()  # type: ignore[no-untyped-call]
