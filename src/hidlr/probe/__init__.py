"""Losses at chosen points, leaving no trace."""

from hidlr.probe.probe import Closure, Probe
from hidlr.probe.surroundings import Surroundings

__all__ = ["Closure", "Probe", "Surroundings"]
