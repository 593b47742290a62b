"""Training from scratch, in full: a residual network, a GPT; the ViT is in Table 1's last row."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, gen, ours, peer, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.finder import kind

__all__ = ["Training"]

_RATES = {"momentum": (0.03, 0.1, 0.3), "adamw": (1e-3, 3e-3, 1e-2)}


class Training(MethodComparison):
    """Full training."""

    name = "training"
    title = "Training from scratch"
    claim = "Hi-DLR works for full training too: at least on par with the best tuned uniform rate."
    figure = "Test metric of each method, with intervals."
    on_par = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """CIFAR-10 and Shakespeare."""
        resnet, gpt = kind("cifar10-resnet"), kind("shakespeare-gpt")
        return [
            Row("cifar10-resnet", "CIFAR-10, ResNet", resnet, tier.steps(60, 400), "momentum"),
            Row("shakespeare-gpt", "Shakespeare, GPT", gpt, tier.steps(80, 400)),
        ]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Schedules, methods that set their own rate, and ours."""
        rates = _RATES[row.optimizer]
        return (
            uniform("constant", rates, "constant"),
            uniform("linear", rates, "linear"),
            uniform("cosine", rates, "cosine"),
            gen(),
            *([peer("prodigy", "Prodigy")] if row.optimizer == "adamw" else []),
            peer("dadapt", "D-Adaptation", row.optimizer),
            ours("hidlr role", "role"),
            ours("hidlr layer", "layer"),
        )
