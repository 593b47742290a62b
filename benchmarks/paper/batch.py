"""Noise: the same training in batches of 8, 32 and 128."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, gen, ours, paper, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.workloads.transfer import VitTransfer

__all__ = ["Batch"]

_ARMS = (
    uniform("linear", (1e-3, 3e-3, 1e-2), "linear", groups="role"),
    gen(),
    paper("Hi-DLR, as published", "role"),
    ours("hidlr role", "role"),
)


class Batch(MethodComparison):
    """A sweep of batch sizes."""

    name = "batch"
    title = "Batch size"
    claim = "Implied: measuring on one batch stands its noise; ours is on par with a tuned rate at every batch size."
    figure = "Test accuracy for each batch size and method, with intervals."
    on_par = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """A pretrained ViT on five unseen classes."""
        steps = tier.steps(60, 400)
        return [Row("vit-unseen", f"batch {size}", VitTransfer, steps, batch=size) for size in (8, 32, 128)]

    def arms(self, row: Row) -> Sequence[Arm]:
        """A tuned rate, GeN, the paper's rule, ours."""
        del row
        return _ARMS
