"""Choose on a GPT of two layers what to train of one of six; beside choosing on the large one itself.

    python -m benchmarks.influence.gpt_transfer --data DIR     # about 5 minutes; goes on where it was stopped

Both GPTs on characters have trained for 100 steps. Then a tenth of the large one's parameters, tensor by tensor, trains
for 100 more at a rate of its own, and the accuracy of the next character on held-out text is compared.
"""

import copy
import json
import time
from typing import Any

import torch
from torch import nn

from benchmarks.influence.tasks import FOLDER, arguments, closures, tune, write
from benchmarks.workloads.gpt import CharacterGpt
from benchmarks.workloads.shakespeare_gpt import ShakespeareGpt
from hidlr import measure_influence, select

SEEDS, BEFORE, STEPS, BUDGET, RATE, TUNED = (0, 1, 2), 100, 100, 0.1, 1e-3, 3e-3
SMALL, LARGE = 2, 6


class Gpt(ShakespeareGpt):
    """The benchmark's GPT at another depth."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth

    def build(self, seed: int) -> nn.Module:
        """Width 64, 4 heads."""
        torch.manual_seed(seed)
        return CharacterGpt(self._vocabulary, context=self.context, width=64, depth=self.depth, heads=4)


def main() -> None:
    arguments(__doc__)
    path = FOLDER / "gpt_transfer.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    for seed in SEEDS:
        if all(row["seed"] != seed for row in rows):
            rows.append(one(seed))
            write("gpt_transfer", {"seeds": SEEDS, "budget": BUDGET, "before": BEFORE, "steps": STEPS, "runs": rows})
            print(rows[-1], flush=True)


def one(seed: int) -> dict[str, Any]:
    """Both choices from one seed."""
    trained, seconds, chosen = {}, {}, {}
    for depth in (SMALL, LARGE):
        workload = Gpt(depth)
        model = workload.build(seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
        tune(workload, model, optimizer, seed, 0, BEFORE, BEFORE + STEPS)
        for group in optimizer.param_groups:
            group["lr"] = RATE
        began = time.process_time()
        losses = closures(workload, model, 500 + seed, 24)
        chosen[depth] = measure_influence(model, losses, optimizer=optimizer, by="tensor", probes=3)
        seconds[depth], trained[depth] = time.process_time() - began, model
    large = trained[LARGE]
    sizes = {depth: sum(p.numel() for p in model.parameters()) for depth, model in trained.items()}
    # Each tensor of the small model stands for three of the large one's, but for those outside the layers: the share
    # is lowered until what is transferred fits.
    share = BUDGET * sizes[LARGE] / sizes[SMALL]
    while (moved := select(chosen[SMALL], budget=min(share, 1.0)).transfer(large)).share > BUDGET:
        share *= 0.97
    found: dict[str, Any] = {"seed": seed, "before": Gpt(LARGE).evaluate(large)["val_accuracy"]}
    for name, selection in (("chosen_on_large", select(chosen[LARGE], budget=BUDGET)), ("transferred", moved)):
        model = copy.deepcopy(large)
        selection.apply(model)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=TUNED, weight_decay=0.01)
        tune(Gpt(LARGE), model, optimizer, seed, BEFORE, BEFORE + STEPS, BEFORE + STEPS, warmup=0.0)
        found[name] = {**Gpt(LARGE).evaluate(model), "share": selection.share, "kept": list(selection.kept)}
    return found | {"small_seconds": seconds[SMALL], "large_seconds": seconds[LARGE]}


if __name__ == "__main__":
    main()
