"""Whether the ranking by influence stays the same over seeds, and over the first tenth of training.

    python -m benchmarks.influence.stability --data DIR     # about 8 minutes; goes on where it was stopped

`measure_influence` with its defaults (24 steps, role within layer) from each of three seeds (weights or head, and
batches), and for each seed again after 5% and 10% of a run of AdamW at its usual rate, warmed up and then falling
linearly. MiniLM's new head learns for 40 steps before all that.
"""

import itertools
import json
from dataclasses import replace
from typing import Any

import torch

from benchmarks.influence.tasks import FOLDER, arguments, closures, settle, spearman, task, tune, write
from hidlr import Influence, measure_influence

SEEDS, SHARES = (0, 1, 2), (0.0, 0.05, 0.1)
TASKS = {  # rate and length of the run
    "digits-vit": (1e-3, 315),
    "shakespeare-gpt": (1e-3, 400),
    "minilm-sst2": (5e-5, 400),
}


def main() -> None:
    arguments(__doc__)
    path = FOLDER / "stability.json"
    done: dict[str, Any] = json.loads(path.read_text())["tasks"] if path.exists() else {}
    for name, (rate, steps) in TASKS.items():
        own = done.setdefault(name, {"rate": rate, "steps": steps, "measured": {}})
        workload = task(name)
        for seed in SEEDS:
            if all(f"{seed}, {share:.0%}" in own["measured"] for share in SHARES):
                continue
            model, first = workload.build(seed), 0
            settle(workload, model, seed)
            optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
            for share in SHARES:
                last = round(share * steps)
                tune(workload, model, optimizer, seed, first, last, steps)
                first = last
                for group in optimizer.param_groups:
                    group["lr"] = rate
                losses = closures(workload, model, 1000 + seed, 24)
                found = measure_influence(model, losses, optimizer=optimizer, by="role_layer")
                own["measured"][f"{seed}, {share:.0%}"] = replace(found, members={}, places={}).to_dict()
                own |= correlations(own["measured"])
                write("stability", {"seeds": SEEDS, "shares": SHARES, "tasks": done})
        print(name, {key: value for key, value in own.items() if key != "measured"}, flush=True)


def correlations(measured: dict[str, Any]) -> dict[str, list[float]]:
    """Rank correlations between seeds at the start, and of each seed with its own start."""
    found = {key: Influence.from_dict(value) for key, value in measured.items()}
    starts = [found[key] for key in found if key.endswith(", 0%")]
    later = [(found[f"{key.split(',')[0]}, 0%"], own) for key, own in found.items() if not key.endswith(", 0%")]
    return {
        "over_seeds": [agreement(one, other) for one, other in itertools.combinations(starts, 2)],
        "over_time": [agreement(one, other) for one, other in later],
        "groups_without_influence": [len(own.sizes) - len(own.ppi) for own in found.values()],
    }


def agreement(one: Influence, other: Influence) -> float:
    """Rank correlation over the groups that both have."""
    names = [name for name in one.ppi if name in other.ppi]
    return spearman([one.ppi[name] for name in names], [other.ppi[name] for name in names])


if __name__ == "__main__":
    main()
