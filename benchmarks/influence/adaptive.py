"""Adaptive PEFT at 1% of the parameters beside known methods, each at its own tuned rate; resumable.

    python -m benchmarks.influence.adaptive --data DIR                # all of it: many hours of one core
    python -m benchmarks.influence.adaptive --data DIR --minutes 20   # as far as it gets; call again to go on

MiniLM on short sentences of SST-2, GoEmotions (two classes) and CoLA, 160 steps of AdamW on batches of 16, warmed up
and then falling linearly. Every method trains a fresh head besides. Each method's rate is climbed to on a ladder of
about three to the step, by the validation metric of seed 10, until both neighbours of the best were tried; seeds 0 to 2
report. "transferred" was chosen on MiniLM cut to its first two layers.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from benchmarks.influence.tasks import FOLDER, arguments, closures, settle, task, tune, write
from hidlr import Influence, Selection, measure_influence, param_groups, select
from hidlr.groups import located

BUDGET, STEPS, TUNING_SEED, SEEDS = 0.01, 160, 10, (0, 1, 2)
RATES = {"full": (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3), "part": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)}
FIRST = {"full": (5e-5, 1e-4), "part": (1e-3, 3e-3)}
TASKS = ("minilm-sst2", "minilm-emotions", "minilm-cola")

Groups = list[dict[str, Any]]


def full(name: str, model: nn.Module, seed: int) -> Groups:
    return [{"params": list(model.parameters())}]


def by_place(keep: Callable[[str, str], bool], name: str, model: nn.Module, seed: int) -> Groups:
    """Train the head and what a role and a name say."""
    for full_name, own in located(model).items():
        for parameter in own.parameters:
            parameter.requires_grad_(own.place.role == "head" or keep(own.place.role, full_name))
    return [{"params": trainable(model)}]


def lora(ratio: float, name: str, model: nn.Module, seed: int) -> Groups:
    """LoRA r=8 on query and value; LoRA+ gives B a rate ratio times higher (arXiv 2402.12354)."""
    inject_lora(model, ["query", "value"], seed)
    for parameter in model.classifier.parameters():
        parameter.requires_grad_(True)
    b = [p for own, p in model.named_parameters() if "lora_B" in own]
    rest = [p for own, p in model.named_parameters() if p.requires_grad and "lora_B" not in own]
    return [{"params": rest}, {"params": b, "ratio": ratio}]


def chosen(choice: Callable[..., Selection], name: str, model: nn.Module, seed: int) -> Groups:
    choice(name, model, seed).apply(model)
    return [{"params": trainable(model)}]


@cache
def measured(name: str, seed: int) -> Influence:
    """Influence on a task of a model of its own, tensor by tensor, once its head has settled."""
    workload = task(name)
    model = workload.build(seed)
    settle(workload, model, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.01)
    losses = closures(workload, model, 500 + seed, 24)
    return measure_influence(model, losses, optimizer=optimizer, by="tensor", probes=3)


def by_influence(name: str, model: nn.Module, seed: int) -> Selection:
    return select(measured(name, seed), budget=BUDGET, always=["classifier.*"])


def transferred(name: str, model: nn.Module, seed: int) -> Selection:
    """Measured on the first two layers alone; the budget is the large model's."""
    small = task(name.replace("minilm-", "minilm-2-")).build(seed)
    share = BUDGET * sum(p.numel() for p in model.parameters()) / sum(p.numel() for p in small.parameters())
    found = measured(name.replace("minilm-", "minilm-2-"), seed)
    # A tensor of the small model stands for three of the large one's.
    return select(found, budget=share / 3, always=["classifier.*"]).transfer(model)


@cache
def measured_parts(name: str, seed: int) -> Influence:
    """Influence of every bias, norm and LoRA pair, once a head has settled."""
    workload = task(name)
    model = workload.build(seed)
    settle(workload, model, seed)
    groups = parts(model, seed)
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.01)
    return measure_influence(model, closures(workload, model, 500 + seed, 24), optimizer=optimizer, probes=3)


def parts(model: nn.Module, seed: int) -> Groups:
    """Adds LoRA r=8 to every linear layer of the encoder; a group for each pair of factors, bias and norm."""
    everything = located(model)
    inject_lora(model, ["query", "key", "value", "dense"], seed)
    groups: dict[str, list[nn.Parameter]] = {}
    for own, parameter in model.named_parameters():
        name = own.replace("base_layer.", "")
        layer, adapter, _ = own.partition(".lora_")
        role = everything[name].place.role if name in everything else ""
        if adapter or own.endswith("bias") or role in ("head", "norm"):
            parameter.requires_grad_(True)
            groups.setdefault(f"{layer}.lora" if adapter else name, []).append(parameter)
    return [{"name": own, "params": parameters} for own, parameters in groups.items()]


def by_influence_of_parts(name: str, model: nn.Module, seed: int) -> Selection:
    """Known methods as candidates: what BitFit, LayerNorm tuning and LoRA train, layer by layer."""
    budget = int(BUDGET * sum(p.numel() for p in model.parameters()))
    parts(model, seed)
    return select(measured_parts(name, seed), budget=budget, always=["classifier.*"])


def inject_lora(model: nn.Module, targets: list[str], seed: int) -> None:
    """LoRA r=8, its factors drawn by the seed."""
    import peft

    torch.manual_seed(seed)
    peft.inject_adapter_in_model(peft.LoraConfig(r=8, lora_alpha=16, target_modules=targets), model)


def at_random(name: str, model: nn.Module, seed: int) -> Selection:
    return by_score({own: random.Random(f"{seed} {own}").random() for own in located(model)}, model)


def by_gradient(name: str, model: nn.Module, seed: int) -> Selection:
    """By the squared norm of the mean gradient of the same batches, per parameter."""
    losses = closures(task(name), model, 500 + seed, 24)
    for loss in losses:
        (loss() / len(losses)).backward()
    scores = {
        own: float(p.grad.square().mean()) if p.grad is not None else 0.0 for own, p in model.named_parameters()
    }  # fmt: skip
    model.zero_grad()
    return by_score(scores, model)


def by_score(scores: dict[str, float], model: nn.Module) -> Selection:
    """Tensors by another score, in the same budget."""
    groups = param_groups(model, "tensor")
    sizes = {group["name"]: group["params"][0].numel() for group in groups}
    total = {own: scores[own] * sizes[own] / 2 for own in sizes}
    counts = dict.fromkeys(sizes, 1)
    found = Influence(dict(scores), total, sizes, counts, dict.fromkeys(sizes, 0)).located(model, groups)
    return select(found, budget=BUDGET, always=["classifier.*"])


METHODS: dict[str, tuple[str, Callable[[str, nn.Module, int], Groups]]] = {
    "full": ("full", full),
    "BitFit": ("part", partial(by_place, lambda role, name: name.endswith("bias"))),
    "LayerNorm": ("part", partial(by_place, lambda role, name: role == "norm")),
    "head": ("part", partial(by_place, lambda role, name: False)),
    "LoRA r=8": ("part", partial(lora, 1.0)),
    "LoRA+": ("part", partial(lora, 16.0)),
    "random": ("part", partial(chosen, at_random)),
    "gradient norm": ("part", partial(chosen, by_gradient)),
    "hidlr": ("part", partial(chosen, by_influence)),
    "hidlr, parts": ("part", partial(chosen, by_influence_of_parts)),
    "transferred": ("part", partial(chosen, transferred)),
}
OURS = ("hidlr", "hidlr, parts", "transferred")


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def run(name: str, method: str, rate: float, seed: int) -> dict[str, Any]:
    """One fine-tuning run."""
    workload = task(name)
    model = workload.build(seed)
    everything = sum(p.numel() for p in model.parameters())
    began = time.process_time()
    groups = METHODS[method][1](name, model, seed)
    for group in groups:
        group["lr"] = rate * group.pop("ratio", 1.0)
    choosing, began = time.process_time() - began, time.process_time()
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    tune(workload, model, optimizer, seed, 0, STEPS, STEPS)
    return {
        "task": name, "method": method, "rate": rate, "seed": seed, **workload.evaluate(model),
        "trained": sum(p.numel() for p in trainable(model)), "of": everything,
        "choosing_seconds": choosing, "training_seconds": time.process_time() - began,
    }  # fmt: skip


def main() -> None:
    args = arguments(__doc__, minutes=True)
    path = FOLDER / "adaptive.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.exists() else []
    until = time.monotonic() + 60 * args.minutes
    for name, method, rate, seed in wanted(rows):
        if time.monotonic() > until:
            break
        rows.append(run(name, method, rate, seed))
        write("adaptive", {"budget": BUDGET, "steps": STEPS, "seeds": SEEDS, "tuning_seed": TUNING_SEED, "runs": rows})
        print({key: rows[-1][key] for key in ("task", "method", "rate", "seed", "val_accuracy", "val_mcc")}, flush=True)


def wanted(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, float, int]]:
    """Runs still to do: known methods before ours; a task's methods at their rates, then the seeds at the best."""
    for methods in ([own for own in METHODS if own not in OURS], OURS):
        for name in TASKS:
            for method in methods:
                while (rate := next_rate(rows, name, method)) is not None:
                    yield name, method, rate, TUNING_SEED
            for method in methods:
                for seed in SEEDS:
                    if not find(rows, name, method, best_rate(rows, name, method), seed):
                        yield name, method, best_rate(rows, name, method), seed


def next_rate(rows: list[dict[str, Any]], name: str, method: str) -> float | None:
    """The next rate to try: the first two, then the best one's neighbours."""
    kind = METHODS[method][0]
    ladder, due = RATES[kind], list(FIRST[kind])
    if all(find(rows, name, method, rate, TUNING_SEED) for rate in due):
        best = ladder.index(best_rate(rows, name, method))
        due = list(ladder[max(best - 1, 0) : best + 2])
    return next((rate for rate in due if not find(rows, name, method, rate, TUNING_SEED)), None)


def best_rate(rows: list[dict[str, Any]], name: str, method: str) -> float:
    """The rate of the best validation metric on the tuning seed; where metrics are equal, of the lower loss."""
    metric = "val_mcc" if name.endswith("cola") else "val_accuracy"
    tuned = [row for row in rows if (row["task"], row["method"], row["seed"]) == (name, method, TUNING_SEED)]
    return float(max(tuned, key=lambda row: (row[metric], -row["val_loss"]))["rate"])


def find(rows: list[dict[str, Any]], name: str, method: str, rate: float, seed: int) -> dict[str, Any] | None:
    key = (name, method, rate, seed)
    return next((row for row in rows if (row["task"], row["method"], row["rate"], row["seed"]) == key), None)


if __name__ == "__main__":
    main()
