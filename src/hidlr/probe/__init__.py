"""Losses at chosen points, leaving no trace."""

from hidlr.probe.gradient import differentiate
from hidlr.probe.probe import Closure, Probe
from hidlr.probe.surroundings import RandomState, Surroundings

__all__ = ["Closure", "Probe", "RandomState", "Surroundings", "differentiate"]
