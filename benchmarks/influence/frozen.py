"""What a training step costs once most of the model is frozen.

    python -m benchmarks.influence.frozen --data DIR     # about 2 minutes

MiniLM with a selection of at most 1% of its parameters beside full fine-tuning: steps of each in turn on the same
batches, the median of the ratios of their processor times; bytes of gradients and of AdamW's state after a step.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.influence.tasks import arguments, closures, settle, task, write
from hidlr import measure_influence, select

SEED, STEPS = 0, 40


def main() -> None:
    arguments(__doc__)
    workload = task("minilm-sst2")
    model = workload.build(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    settle(workload, model, SEED)
    influence = measure_influence(model, closures(workload, model, SEED, 24), optimizer=optimizer, by="role_layer")
    result = {"seeds": [SEED], "pairs_of_steps": STEPS, "budgets": {}}
    for budget in (0.01, 0.001):
        selection = select(influence, budget=budget, always=["head/head"])
        full, frozen = workload.build(SEED), workload.build(SEED)
        selection.apply(frozen)
        optimizers = {
            id(m): torch.optim.AdamW([p for p in m.parameters() if p.requires_grad], lr=5e-5) for m in (full, frozen)
        }
        pairs = list(zip(closures(workload, full, SEED, STEPS), closures(workload, frozen, SEED, STEPS), strict=True))
        ratios = []
        for index, (one, other) in enumerate(pairs):
            a, b = step(full, optimizers[id(full)], one), step(frozen, optimizers[id(frozen)], other)
            if index >= 5:
                ratios.append(a / b)
        memory = [bytes_of(m, optimizers[id(m)]) for m in (full, frozen)]
        result["budgets"][str(budget)] = {
            "kept": list(selection.kept), "parameters": selection.parameters, "share": selection.share,
            "faster": statistics.median(ratios), "bytes_full": memory[0], "bytes_frozen": memory[1],
            "memory_share": memory[1] / memory[0],
        }  # fmt: skip
        print(budget, {k: v for k, v in result["budgets"][str(budget)].items() if k != "kept"})
    write("frozen", result)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> float:
    began = time.process_time()
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    return time.process_time() - began


def bytes_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    tensors = [p.grad for p in model.parameters() if p.grad is not None]
    tensors += [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


if __name__ == "__main__":
    main()
