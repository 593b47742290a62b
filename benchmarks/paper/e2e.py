"""Adaptive fine-tuning and its transfer on E2E: GPTs of two sizes, what trains little beside all of it, by BLEU."""

from collections.abc import Sequence

from benchmarks.paper.arms import Arm, Row, mean, ours, uniform
from benchmarks.paper.comparison import MethodComparison
from benchmarks.paper.experiment import Tier, Verdict, graded
from benchmarks.paper.markdown import table
from benchmarks.paper.runs import Runs
from benchmarks.paper.workloads.e2e import E2eGpt

__all__ = ["E2e"]

_LITTLE = (1e-3, 3e-3)
_FULL = uniform("full", (1e-3, 3e-3), "linear", variant="full")
_ADAPTIVE = uniform("adaptive, 5%", _LITTLE, "linear", variant="adaptive", side="ours")
_ARMS = (
    _FULL,
    uniform("BitFit", _LITTLE, "linear", variant="bitfit", side=""),
    uniform("norms", _LITTLE, "linear", variant="norm", side=""),
    _ADAPTIVE,
    ours("full, hidlr role", "role", variant="full", side=""),
)

_REAL = (
    _FULL,
    uniform("LoRA", _LITTLE, "linear", variant="lora"),
    ours("LoRA, hidlr", "lora", variant="lora"),
)


class E2e(MethodComparison):
    """The paper's GPT-2 section."""

    name = "e2e"
    title = "Adaptive PEFT on E2E"
    claim = "Training only groups of high influence, chosen on a small model, comes within a point of full training."
    figure = "Test loss of each method and size, with intervals."
    has_real = True

    def rows(self, tier: Tier) -> Sequence[Row]:
        """Two sizes; with `--real` GPT-2."""
        if tier.real:
            from benchmarks.paper.workloads.hub_e2e import HubE2e

            return [Row("real-e2e", "GPT-2", HubE2e, 4000)]
        steps = tier.steps(40, 300)
        return [Row(f"e2e-{size}", f"{size} GPT", E2eGpt, steps) for size in ("small", "large")]

    def arms(self, row: Row) -> Sequence[Arm]:
        """Full fine-tuning, two ways to train little, the adaptive one, and ours on everything."""
        if row.workload.startswith("real"):
            return _REAL
        return _ARMS

    def table(self, runs: Runs) -> str:
        """The losses, then BLEU."""
        cells = [
            [row.label, *(f"{self._bleu(row, arm, runs):.1f}" for arm in self.arms(row))] for row in self._rows(runs)
        ]
        heads = ["BLEU on 60 lists of facts", *(arm.label for arm in self.arms(self._rows(runs)[0]))]
        note = "sacrebleu, lower-cased, mean over seeds; greedy writing."
        return f"{super().table(runs)}\n\n{table(heads, cells, note)}"

    def judge(self, runs: Runs) -> Verdict:
        """BLEU of the adaptive choice against full training's."""
        rows = [row for row in self._rows(runs) if not row.workload.startswith("real")]
        if not rows:
            return super().judge(runs)
        gaps = {row.label: self._bleu(row, _ADAPTIVE, runs) - self._bleu(row, _FULL, runs) for row in rows}
        within = sum(gap >= -1 for gap in gaps.values())
        measured = "BLEU of the adaptive 5% less that of full training: " + ", ".join(
            f"{label} {gap:+.1f}" for label, gap in gaps.items()
        )
        return graded(within == len(gaps), within > 0, measured)

    def _bleu(self, row: Row, arm: Arm, runs: Runs) -> float:
        return mean(self.found(row, arm, runs), "test_bleu", higher_is_better=True)
