"""LoRA on GLUE: rates for A, B and head against one tuned rate, LoRA+ and other ways to train little."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, gen, ours, paper, peer, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier
from benchmarks.paper.workloads.glue import KINDS

__all__ = ["Lora"]

_RATES = (3e-3, 1e-2)
_PLUS = (("lora_B", 16.0),)  # Hayou et al., arXiv 2402.12354
_ARMS = (
    uniform("LoRA", _RATES, "linear", variant="lora", groups="lora"),
    uniform("LoRA+", (1e-3, 3e-3), "linear", variant="lora", groups="lora", multipliers=_PLUS),
    uniform("LoRA-FA", _RATES, "linear", variant="lora_fa"),
    uniform("prompt tuning", _RATES, "linear", variant="prompt", groups="all"),
    uniform("BitFit", _RATES, "linear", variant="bitfit"),
    uniform("full", (1e-4, 3e-4), "linear", variant="full"),
    gen(variant="lora"),
    peer("prodigy", "Prodigy").on(variant="lora"),
    paper("Hi-DLR, as published", "lora", variant="lora"),
    ours("hidlr A, B, head", "lora", variant="lora"),
)


class Lora(MethodComparison):
    """The paper's table of GLUE tasks."""

    name = "lora"
    title = "LoRA on GLUE"
    claim = "With groups A, B and head, LoRA under Hi-DLR is ahead of LoRA, LoRA+, LoRA-FA and others on 4 of 5 tasks."
    figure = "Test metric of each method on CoLA and SST-2, with intervals."
    has_real = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """CoLA and SST-2; with `--real` the paper's five tasks and RoBERTa-base."""
        if tier.real:
            from benchmarks.paper.workloads.hub_glue import TASKS, HubGlue

            return [Row(f"real-glue-{task}", f"{task}, RoBERTa-base", HubGlue, 3000) for task in TASKS]
        labels = {"cola": "CoLA, MiniLM", "sst2": "SST-2, MiniLM"}
        return [Row(f"glue-{task}", labels[task], kind, tier.steps(40, 400)) for task, kind in KINDS.items()]

    def arms(self, row: Row) -> Sequence[Arm]:
        """What trains little, each with its own tuned rate, and ours."""
        del row
        return _ARMS
