"""Whether the ranking by influence stays the same over seeds, and over the first tenth of training.

    python -m benchmarks.influence.stability --data DIR     # about 6 minutes

`measure_influence` with its defaults (24 steps, role within layer) from each of three seeds (head and batches), and
for each seed again after 5% and 10% of a fine-tuning run of 400 steps of AdamW at 5e-5, warmed up, then falling
linearly.
"""

import itertools

import torch

from benchmarks.influence.tasks import arguments, closures, spearman, task, tune, write
from hidlr import Influence, measure_influence

RATE, STEPS, SEEDS = 5e-5, 400, (0, 1, 2)
SHARES = (0.0, 0.05, 0.1)


def main() -> None:
    arguments(__doc__)
    result = {"seeds": list(SEEDS), "rate": RATE, "steps": STEPS, "tasks": {}}
    for name in ("minilm-sst2", "minilm-cola"):
        found: dict[tuple[int, float], Influence] = {}
        workload = task(name)
        for seed in SEEDS:
            model, done = workload.build(seed), 0
            optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
            for share in SHARES:
                until = round(share * STEPS)
                tune(workload, model, optimizer, seed, done, until, STEPS)
                done = until
                losses = closures(workload, model, 1000 + seed, 24)
                for group in optimizer.param_groups:
                    group["lr"] = RATE
                found[seed, share] = measure_influence(model, losses, optimizer=optimizer, by="role_layer")
        over_seeds = [
            agreement(found[a, 0.0], found[b, 0.0]) for a, b in itertools.combinations(SEEDS, 2)
        ]  # fmt: skip
        over_time = [agreement(found[seed, 0.0], found[seed, share]) for seed in SEEDS for share in SHARES[1:]]
        result["tasks"][name] = {
            "over_seeds": over_seeds, "over_time": over_time,
            "groups": len(found[0, 0.0].sizes),
            "refused": {f"{seed}, {share:.0%}": sum(own.refused.values()) for (seed, share), own in found.items()},
            "ppi": {f"{seed}, {share:.0%}": own.ppi for (seed, share), own in found.items()},
        }  # fmt: skip
        print(name, "over seeds", over_seeds, "over time", over_time)
    write("stability", result)


def agreement(one: Influence, other: Influence) -> float:
    """Rank correlation over the groups that both have."""
    names = [name for name in one.ppi if name in other.ppi]
    return spearman([one.ppi[name] for name in names], [other.ppi[name] for name in names])


if __name__ == "__main__":
    main()
