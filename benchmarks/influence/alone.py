"""Influence against the ground truth: train each group alone, and see by how much per parameter the loss falls.

    python -m benchmarks.influence.alone --data DIR     # about 12 minutes; goes on where it was stopped

On three models: a quarter-trained vision transformer on digits, the same for a GPT on characters, MiniLM on SST-2 with
a fresh head. Groups are roles within layers. The truth is the fall of the mean loss of 8 batches while AdamW trains the
one group on them for 16 steps, at the best of four rates, over the group's size; it is compared with
`measure_influence` from the same start on the same batches (Spearman).
"""

import json
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.influence.tasks import FOLDER, arguments, closures, spearman, task, tune, write
from hidlr import measure_influence, param_groups

SEED, BATCHES, STEPS = 0, 8, 16
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
TASKS = {  # optimizer rate, steps before, of so many
    "digits-vit": (1e-3, 80, 315),
    "shakespeare-gpt": (1e-3, 100, 400),
    "minilm-sst2": (5e-5, 0, 400),
}


def main() -> None:
    arguments(__doc__)
    path = FOLDER / "alone.json"
    done = json.loads(path.read_text())["tasks"] if path.exists() else {}
    for name, (rate, before, steps) in TASKS.items():
        if done.get(name, {}).get("finished"):
            continue
        workload = task(name)
        model = workload.build(SEED)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        tune(workload, model, optimizer, SEED, 0, before, steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses = closures(workload, model, 7, BATCHES)
        found = measure_influence(model, losses, optimizer=optimizer, steps=24, by="role_layer")
        own = done.setdefault(name, {"rows": {}, "rate": rate, "before": before})
        start = {key: value.clone() for key, value in model.state_dict().items()}
        base = mean(losses)
        for group in param_groups(model, "role_layer"):
            if group["name"] in own["rows"]:
                continue
            falls = [base - alone(model, start, group["params"], losses, lr) for lr in RATES]
            best = max(falls)
            size = sum(p.numel() for p in group["params"])
            own["rows"][group["name"]] = {
                "size": size, "falls": falls, "truth": best / size, "ppi": found.ppi.get(group["name"]),
                "error": found.error.get(group["name"]),
            }  # fmt: skip
            save(done)
        model.load_state_dict(start)
        rows = [row for row in own["rows"].values() if row["ppi"] is not None]
        own["spearman"] = spearman([row["ppi"] for row in rows], [row["truth"] for row in rows])
        own["spearman_of_totals"] = spearman(
            [row["ppi"] * row["size"] for row in rows], [row["truth"] * row["size"] for row in rows]
        )
        own["spearman_of_size_alone"] = spearman([-row["size"] for row in rows], [row["truth"] for row in rows])
        own["groups"], own["without_influence"] = len(rows), len(own["rows"]) - len(rows)
        own["finished"] = True
        save(done)
        print(name, {key: value for key, value in own.items() if key != "rows"})


def save(done: dict) -> None:
    write("alone", {"seeds": [SEED], "rates": RATES, "steps": STEPS, "batches": BATCHES, "tasks": done})


@torch.no_grad()
def mean(losses: list[Callable[[], Tensor]]) -> float:
    return sum(float(loss()) for loss in losses) / len(losses)


def alone(
    model: nn.Module,
    start: dict[str, Tensor],
    parameters: list[Tensor],
    losses: list[Callable[[], Tensor]],
    rate: float,
) -> float:
    """The mean loss after training these parameters alone."""
    model.load_state_dict(start)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    for step in range(STEPS):
        optimizer.zero_grad()
        losses[step % len(losses)]().backward()
        optimizer.step()
    after = mean(losses)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return after


if __name__ == "__main__":
    main()
