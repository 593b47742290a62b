"""The tuner in the training loops that people have; each part imports its library when asked for, not before.

Example:
    >>> from hidlr.integrations import regroup
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    >>> regroup(optimizer, model, "role")
    ['mlp', 'bias', 'head']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hidlr.integrations.accelerate import AcceleratedHiDLR as AcceleratedHiDLR
    from hidlr.integrations.lightning import HiDLRCallback as HiDLRCallback
    from hidlr.integrations.loggers import (
        Logger as Logger,
    )
    from hidlr.integrations.loggers import (
        LoggingHistory as LoggingHistory,
    )
    from hidlr.integrations.loggers import (
        MLflowLogger as MLflowLogger,
    )
    from hidlr.integrations.loggers import (
        TensorBoardLogger as TensorBoardLogger,
    )
    from hidlr.integrations.loggers import (
        TrackioLogger as TrackioLogger,
    )
    from hidlr.integrations.loggers import (
        WandbLogger as WandbLogger,
    )
    from hidlr.integrations.regrouping import regroup as regroup
    from hidlr.integrations.trainer import HiDLRMixin as HiDLRMixin
    from hidlr.integrations.trainer import HiDLRTrainer as HiDLRTrainer

_WHERE = {
    "AcceleratedHiDLR": "accelerate",
    "HiDLRCallback": "lightning",
    "HiDLRMixin": "trainer",
    "HiDLRTrainer": "trainer",
    "Logger": "loggers",
    "LoggingHistory": "loggers",
    "MLflowLogger": "loggers",
    "TensorBoardLogger": "loggers",
    "TrackioLogger": "loggers",
    "WandbLogger": "loggers",
    "regroup": "regrouping",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
