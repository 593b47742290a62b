"""Which parameters may share a rate: fine groups measured once, and those that agree merged."""

from .suggest import suggest_groups
from .suggestion import GroupSuggestion, SuggestedGroup

__all__ = ["GroupSuggestion", "SuggestedGroup", "suggest_groups"]
