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
    figure = "Accuracy of each method on each task, with intervals."
    has_real = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Four data sets after pretraining, one without; with `--real` the paper's five and a ViT of ImageNet."""
        if tier.real:
            from benchmarks.paper.workloads.hub_images import SETS, HubImages

            return [Row(f"real-images-{name}", f"{name}, ViT-B/16", HubImages, 2000) for name in SETS]
        return [Row(name, label, VitTransfer, tier.steps(50, 400)) for name, label in _ROWS.items()]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Every column of the table, and norms and roles besides."""
        del row
        return _ARMS
