"""Influence against the ground truth: train each group alone, and see by how much per parameter the loss falls.

    python -m benchmarks.influence.alone --data DIR     # about 20 minutes; goes on where it was stopped

On three models: a quarter-trained vision transformer on digits and GPT on characters, from three seeds each, and MiniLM
on SST-2, whose new head has learnt for 40 steps. Groups are roles within layers. The truth is the fall of the mean loss
of 8 batches while AdamW trains the one group on them for 16 steps, over the group's size, at the best rate of a ladder
that is climbed until both neighbours of the best were tried; it is compared with `measure_influence` from the same
start on the same batches (Spearman).
"""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.influence.tasks import FOLDER, arguments, closures, settle, spearman, task, tune, write
from hidlr import measure_influence, param_groups

BATCHES, STEPS = 8, 16
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
TASKS = {  # optimizer rate, steps before, of so many; seeds
    "digits-vit": (1e-3, 80, 315, (0, 1, 2)),
    "shakespeare-gpt": (1e-3, 100, 400, (0, 1, 2)),
    "minilm-sst2": (5e-5, 0, 400, (0,)),
}


def main() -> None:
    arguments(__doc__)
    path = FOLDER / "alone.json"
    done = json.loads(path.read_text())["tasks"] if path.exists() else {}
    for name, (rate, before, steps, seeds) in TASKS.items():
        own = done.setdefault(name, {"rate": rate, "before": before, "seeds": {}})
        for seed in seeds:
            found = own["seeds"].setdefault(str(seed), {"rows": {}})
            if "spearman" not in found:
                one_seed(name, seed, rate, before, steps, found, lambda: save(done))
                print(name, seed, {key: value for key, value in found.items() if key != "rows"}, flush=True)


def one_seed(
    name: str, seed: int, rate: float, before: int, steps: int, own: dict[str, Any], keep: Callable[[], None]
) -> None:
    """All groups of one model from one start."""
    workload = task(name)
    model = workload.build(seed)
    settle(workload, model, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    tune(workload, model, optimizer, seed, 0, before, steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    losses = closures(workload, model, 7 + seed, BATCHES)
    found = measure_influence(model, losses, optimizer=optimizer, steps=24, by="role_layer")
    start = {key: value.clone() for key, value in model.state_dict().items()}
    base = mean(losses)
    for group in param_groups(model, "role_layer"):
        if group["name"] in own["rows"]:
            continue
        falls = climb(lambda lr, group=group: base - alone(model, start, group["params"], losses, lr))
        size = sum(p.numel() for p in group["params"])
        own["rows"][group["name"]] = {
            "size": size, "falls": falls, "truth": max(falls.values()) / size, "ppi": found.ppi.get(group["name"]),
            "error": found.error.get(group["name"]),
        }  # fmt: skip
        keep()
    rows = [row for row in own["rows"].values() if row["ppi"] is not None]
    own["spearman"] = spearman([row["ppi"] for row in rows], [row["truth"] for row in rows])
    own["spearman_of_totals"] = spearman(
        [row["ppi"] * row["size"] for row in rows], [row["truth"] * row["size"] for row in rows]
    )
    own["spearman_of_size_alone"] = spearman([-row["size"] for row in rows], [row["truth"] for row in rows])
    own["groups"], own["without_influence"] = len(rows), len(own["rows"]) - len(rows)
    keep()


def climb(fall: Callable[[float], float]) -> dict[str, float]:
    """The fall at each rate that was tried, from 3e-3 and 1e-2 on."""
    falls: dict[str, float] = {}
    due = [3e-3, 1e-2]
    while due:
        for lr in due:
            falls[str(lr)] = fall(lr)
        at = RATES.index(float(max(falls, key=lambda lr: falls[lr])))
        due = [lr for lr in RATES[max(at - 1, 0) : at + 2] if str(lr) not in falls]
    return falls


def save(done: dict[str, Any]) -> None:
    write("alone", {"rates": RATES, "steps": STEPS, "batches": BATCHES, "tasks": done})


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
    after = after if after == after else float("inf")  # it diverged
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return after


if __name__ == "__main__":
    main()
