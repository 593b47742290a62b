"""Rates chosen in low precision beside those of float32, on the digits transformer.

    python -m benchmarks.precision            # about five minutes; writes benchmarks/results/precision.json

Runs drift apart by themselves, so one row is float32 again, from parameters a ten-thousandth away.
"""

import argparse
import contextlib
import json
import math
import statistics
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import hidlr
from benchmarks.machine import describe
from hidlr.workloads import get

RESULT = Path(__file__).parent / "results" / "precision.json"
STEPS = 100
SEEDS = (0, 1)
OPTIMIZERS = {
    "AdamW": lambda groups: torch.optim.AdamW(groups, lr=1e-3),
    "SGD, momentum": lambda groups: torch.optim.SGD(groups, lr=1e-2, momentum=0.9),
}
KINDS = ("float32, started 1e-4 apart", "bfloat16 autocast", "float16 autocast, GradScaler", "bfloat16 parameters")


@cache
def run(kind: str, optimizer: str, seed: int, steps: int = STEPS) -> hidlr.HiDLR:
    """One training run; its tuner."""
    workload = get("digits")
    model = workload.build(seed)
    dtype = torch.bfloat16 if kind == "bfloat16 parameters" else torch.float32
    if "apart" in kind:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 1 + 1e-4
    model.to(dtype)
    if dtype is torch.bfloat16:
        model.register_forward_hook(lambda module, inputs, output: output.float())
    groups = hidlr.param_groups(model, by="role")
    base = OPTIMIZERS[optimizer](groups)
    tuner = hidlr.HiDLR(base, total_steps=steps)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled="GradScaler" in kind)
    cast = {"b": torch.bfloat16, "f": torch.float16}[kind[0]] if "autocast" in kind else None
    for step in range(steps):
        batch = tuple(part.to(dtype) if part.is_floating_point() else part for part in workload.batch(step, seed))

        def closure(batch: Any = batch) -> Tensor:
            with torch.autocast("cpu", cast) if cast else contextlib.nullcontext():
                return workload.loss(model, batch)

        scaler.scale(closure()).backward()
        scaler.step(base)
        scaler.update()
        tuner.step(closure)
        base.zero_grad()
    return tuner


def beside(found: hidlr.HiDLR, reference: hidlr.HiDLR) -> list[list[float]]:
    """Rates over float32's, at each step that both probed, one per group."""
    by_step = {record.step: record for record in reference.history}
    return [
        [mine.rate_after / its.rate_after for mine, its in zip(record.groups, by_step[record.step].groups, strict=True)]
        for record in found.history
        if record.step in by_step
    ]


def row(kind: str, optimizer: str, seeds: tuple[int, ...] = SEEDS, steps: int = STEPS) -> dict[str, Any]:
    """All seeds of one kind together."""
    probes: list[list[float]] = []
    for seed in seeds:
        probes += beside(run(kind, optimizer, seed, steps), run("float32", optimizer, seed, steps))
    ratios = [ratio for probe in probes for ratio in probe]
    near = [abs(math.log(ratio)) <= math.log(1.25) for ratio in ratios]
    middle = [abs(statistics.median(map(math.log, probe))) <= math.log(1.25) for probe in probes]
    ordered = sorted(ratios)
    return {
        "kind": kind,
        "optimizer": optimizer,
        "probes": len(probes),
        "within_25_percent": sum(near) / len(near),
        "median_group_within_25_percent": sum(middle) / len(middle),
        "quartiles": [ordered[len(ordered) * part // 4] for part in (1, 2, 3)],
    }


def table() -> str:
    """The committed result."""
    rows = json.loads(RESULT.read_text())["rows"]
    lines = ["| | optimizer | rates within 25% of float32's | probes whose median group is | ratio: quartiles |"]
    lines.append("|---|---|---:|---:|---|")
    for entry in rows:
        quartiles = ", ".join(f"{value:.2f}" for value in entry["quartiles"])
        shares = [f"{100 * entry[name]:.0f}%" for name in ("within_25_percent", "median_group_within_25_percent")]
        lines.append(f"| {entry['kind']} | {entry['optimizer']} | {' | '.join(shares)} | {quartiles} |")
    return "\n".join(lines)


TABLES = {"precision": table}


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULT)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    rows = []
    for optimizer in OPTIMIZERS:
        for kind in KINDS:
            rows.append(row(kind, optimizer))
            print(rows[-1], flush=True)
    result = {
        "command": "python -m benchmarks.precision",
        "machine": describe(),
        "steps": STEPS,
        "seeds": SEEDS,
        "rows": rows,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
