"""A new head learns first: until it does, the loss says little of the layers below it."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hidlr.errors import InputError
from hidlr.groups import located
from hidlr.measuring import checked_closures
from hidlr.probe import Closure, differentiate

__all__ = ["settle_head"]


def settle_head(
    model: nn.Module, closures: Closure | Iterable[Closure], *, steps: int = 40, lr: float = 1e-2
) -> tuple[str, ...]:
    """Train the head alone for a few dozen steps; all else stays as it is.

    Above a head drawn at random the loss of a pretrained model is concave along the steps of many of its groups, which
    then have no influence that could be measured. Backward ends at the head, so that a step costs a forward pass.

    Args:
        model: whose head, as `param_groups` finds it, is new.
        closures: each computes the loss of one batch, without backward; they take turns.
        steps: of AdamW, whose rate falls linearly to 0.
        lr: its first rate.

    Returns:
        Names of the head's parameters.

    Raises:
        InputError: no head can be told, no closure, no step, or a loss that is not finite.
        InputTypeError: something that is no closure.
        ClosureError: a closure's loss does not depend on the head.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x, y = torch.randn(16, 3), torch.randint(2, (16,))
        >>> settle_head(model, lambda: nn.functional.cross_entropy(model(x), y))
        ('2.weight', '2.bias')
    """
    batches = checked_closures(closures)
    if steps < 1:
        raise InputError(f"steps={steps}: at least one")
    head = {name: own for name, own in located(model).items() if own.place.role == "head"}
    parameters: list[Tensor] = list(
        dict.fromkeys(p for own in head.values() for p in own.parameters if p.requires_grad)
    )
    if not parameters:
        raise InputError("the model has no trainable head that can be told from its modules: train it yourself first")
    wanted = set(parameters)
    before = {p: (p.requires_grad, p.grad) for p in model.parameters()}
    start = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=lr)
    try:
        for p in before:
            p.grad = None
            p.requires_grad_(p in wanted)
        for step in range(steps):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
            differentiate(batches[step % len(batches)], "settle_head")
            optimizer.step()
        if not all(bool(p.isfinite().all()) for p in parameters):
            raise InputError(f"the head is not finite after {steps} steps: lower lr={lr:g}, or look at the batches")
    except BaseException:
        with torch.no_grad():
            torch._foreach_copy_(parameters, start)
        raise
    finally:
        for p, (trainable, gradient) in before.items():
            p.requires_grad_(trainable)
            p.grad = gradient
    return tuple(head)
