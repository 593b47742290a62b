"""The two tasks that the extensions are tried on: a pretrained ViT, and a GPT from scratch; both learn in few steps."""

from benchmarks.paper.arms import Row
from benchmarks.paper.experiment import Tier
from benchmarks.paper.finder import kind
from benchmarks.paper.workloads.transfer import VitTransfer

__all__ = ["two_tasks"]


def two_tasks(tier: Tier, prefix: str = "") -> list[Row]:
    """Rows with six groups by role.

    Args:
        tier: says how long runs are.
        prefix: put before the workloads' names, for the finder.
    """
    steps = tier.steps(60, 400)
    return [
        Row(f"{prefix}vit-unseen", "ViT, 5 unseen classes", VitTransfer, steps),
        Row(f"{prefix}shakespeare-gpt", "GPT, Shakespeare", kind("shakespeare-gpt"), steps),
    ]
