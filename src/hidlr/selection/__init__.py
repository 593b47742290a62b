"""Which groups to train: chosen by influence, applied, undone, saved, carried to other models."""

from hidlr.selection.budget import Budget, parse_budget
from hidlr.selection.choice import GroupChoice, Match
from hidlr.selection.from_peft import selection_from_peft
from hidlr.selection.select import select
from hidlr.selection.selection import Selection
from hidlr.selection.to_peft import PeftExport

__all__ = ["Budget", "GroupChoice", "Match", "PeftExport", "Selection", "parse_budget", "select", "selection_from_peft"]
