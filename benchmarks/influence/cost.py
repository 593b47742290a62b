"""What measuring influence costs, beside one epoch of full fine-tuning on SST-2.

    python -m benchmarks.influence.cost --data DIR     # about 2 minutes

Processor time of `settle_head` and `measure_influence` with their defaults (40 and 24 steps) on MiniLM by role within
layer and by tensor, over that of 67,349 / 16 steps of AdamW on the same batches, whose length is told from 30 of them.
"""

import time

import torch

from benchmarks.influence.tasks import arguments, closures, task, write
from hidlr import measure_influence, settle_head

SEED, ROWS, STEPS = 0, 67_349, 30


def main() -> None:
    arguments(__doc__)
    workload = task("minilm-sst2")
    model = workload.build(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    losses = closures(workload, model, SEED, STEPS)
    began = time.process_time()
    for loss in losses:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    step = (time.process_time() - began) / STEPS
    epoch = step * ROWS / workload.batch_size
    result = {"seeds": [SEED], "step_seconds": step, "epoch_seconds": epoch, "batch": workload.batch_size, "by": {}}
    for by in ("role_layer", "tensor"):
        model = workload.build(SEED)
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
        calls = 0

        def counted(loss):
            def inside():
                nonlocal calls
                calls += 1
                return loss()

            return inside

        losses = [counted(loss) for loss in closures(workload, model, SEED, 24)]
        began = time.process_time()
        settle_head(model, losses)
        found = measure_influence(model, losses, optimizer=optimizer, by=by)
        seconds = time.process_time() - began
        result["by"][by] = {
            "groups": len(found.sizes), "seconds": seconds, "share_of_epoch": seconds / epoch, "closures": calls,
            "in_steps": seconds / step, "groups_with_influence": len(found.ppi),
        }  # fmt: skip
        print(by, result["by"][by])
    write("cost", result)


if __name__ == "__main__":
    main()
