"""Train a workload, tuned or at a uniform rate, into a run folder that can be resumed and compared."""

from hidlr.training.compare import Comparison, compare
from hidlr.training.config import RunConfig
from hidlr.training.folder import fresh_folder, read_config
from hidlr.training.interrupt import Interrupted
from hidlr.training.loop import train
from hidlr.training.result import Result
from hidlr.training.row import Row
from hidlr.training.session import Progress, assemble

__all__ = [
    "Comparison",
    "Interrupted",
    "Progress",
    "Result",
    "Row",
    "RunConfig",
    "assemble",
    "compare",
    "fresh_folder",
    "read_config",
    "train",
]
