"""A second optimizer of the same parameters: its steps leave the original's state alone."""

import copy
from typing import Any

from torch.optim.optimizer import Optimizer

__all__ = ["twin_of"]


def twin_of(optimizer: Optimizer) -> Optimizer:
    """An optimizer of the same parameters with a copy of the state."""
    shared: dict[int, Any] = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    twin = copy.deepcopy(optimizer, shared)
    # Optimizers pickle no more than state and groups; some keep settings beside them.
    for name, value in vars(optimizer).items():
        if name not in vars(twin) and name != "step":  # a scheduler wraps step in place
            setattr(twin, name, copy.copy(value))
    return twin
