"""Learning rates per parameter group, set by the loss's own curvature, for any PyTorch optimizer."""

from importlib.metadata import PackageNotFoundError, version

from hidlr import engines
from hidlr.errors import (
    ClosureError,
    HidlrError,
    HidlrWarning,
    InputError,
    InputTypeError,
    MissingExtraError,
    StateError,
    UnsupportedOptimizerError,
)
from hidlr.find import RateReport, find_rates
from hidlr.groups import param_groups
from hidlr.history import GroupRecord, History, StepRecord
from hidlr.influence import Influence
from hidlr.measuring import measure_influence
from hidlr.tuner import HiDLR

try:
    __version__ = version("hidlr")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "ClosureError",
    "GroupRecord",
    "HiDLR",
    "HidlrError",
    "HidlrWarning",
    "History",
    "Influence",
    "InputError",
    "InputTypeError",
    "MissingExtraError",
    "RateReport",
    "StateError",
    "StepRecord",
    "UnsupportedOptimizerError",
    "engines",
    "find_rates",
    "measure_influence",
    "param_groups",
]
