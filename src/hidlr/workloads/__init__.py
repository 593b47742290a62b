"""Small, complete training problems that come with hidlr: no download, seconds to minutes on a CPU."""

from hidlr.workloads.base import Batch, Defaults, Grouping, Surface, Workload
from hidlr.workloads.registry import get, names

__all__ = ["Batch", "Defaults", "Grouping", "Surface", "Workload", "get", "names"]
