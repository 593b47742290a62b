"""Table 1: a pretrained ViT fine-tuned with AdamW; schedules, GeN, Prodigy and D-Adaptation against groups of ours."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, gen, ours, peer, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.workloads.transfer import VitTransfer

__all__ = ["Table1"]

_RATES = (3e-4, 1e-3, 3e-3)
_ROWS = {
    "vit-unseen": "5 unseen classes",
    "vit-all": "10 classes",
    "vit-animals": "animals or vehicles",
    "vit-digits": "digits",
    "vit-scratch": "10 classes, from scratch",
}
_ARMS = (
    uniform("constant", _RATES, "constant"),
    uniform("linear", _RATES, "linear"),
    uniform("cosine", _RATES, "cosine"),
    gen(),
    peer("prodigy", "Prodigy"),
    peer("dadapt", "D-Adaptation"),
    ours("hidlr bias", "bias"),
    ours("hidlr head", "head"),
    ours("hidlr norm", "norm"),
    ours("hidlr role", "role"),
)


class Table1(MethodComparison):
    """The paper's main table."""

    name = "table1"
    title = "Table 1: ViT fine-tuning"
    claim = "With two groups (bias or head against the rest) Hi-DLR is ahead of every uniform rate on 4 of 5 data sets."

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Four data sets after pretraining, one without."""
        return [Row(name, label, VitTransfer, tier.steps(80, 400)) for name, label in _ROWS.items()]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Every column of the table, and norms and roles besides."""
        del row
        return _ARMS
