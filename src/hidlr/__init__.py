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
from hidlr.groups import Place, param_groups
from hidlr.history import GroupRecord, History, StepRecord
from hidlr.influence import Influence
from hidlr.measuring import measure_influence
from hidlr.selection import Budget, GroupChoice, Match, PeftExport, Selection, select, selection_from_peft
from hidlr.settling import settle_head
from hidlr.suggesting import GroupSuggestion, SuggestedGroup, suggest_groups
from hidlr.tuner import HiDLR

try:
    __version__ = version("hidlr")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "Budget",
    "ClosureError",
    "GroupChoice",
    "GroupRecord",
    "GroupSuggestion",
    "HiDLR",
    "HidlrError",
    "HidlrWarning",
    "History",
    "Influence",
    "InputError",
    "InputTypeError",
    "Match",
    "MissingExtraError",
    "PeftExport",
    "Place",
    "RateReport",
    "Selection",
    "StateError",
    "StepRecord",
    "SuggestedGroup",
    "UnsupportedOptimizerError",
    "engines",
    "find_rates",
    "measure_influence",
    "param_groups",
    "select",
    "selection_from_peft",
    "settle_head",
    "suggest_groups",
]
