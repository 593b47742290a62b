"""Slopes, curvatures and influence against autograd in float64, for every group of MiniLM.

    python -m benchmarks.influence.truth --data DIR     # about 3 minutes

One AdamW step on one batch of SST-2: b_k and A_kk of `measure_influence` beside -G.move and move.H.move by double
backward in float64, groups by role within each layer. Then a short run in float32, and under bfloat16 autocast, beside
the exact influence of the same batches: how often the truth lies within the stated standard error.
"""

import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.influence.tasks import arguments, closures, task, write
from hidlr import param_groups
from hidlr.influence import Influence, InfluenceMeter
from hidlr.measuring import _grouped, _Run

RATE, SEED, STEPS = 2e-5, 0, 6
Exact = dict[str, list[tuple[float, float, float]]]


class Kept(InfluenceMeter):
    """A meter that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, dict[str, list[float]]] = {}

    def observe(self, name: str, size: int, **found: Any) -> None:
        """Keep it, and pass it on."""
        super().observe(name, size, **found)
        own = self.seen.setdefault(name, {"slope": [], "curvature": []})
        for key in own:
            if found.get(key) is not None:
                own[key].append(found[key])


def measured(model: nn.Module, losses: list[Callable[[], Tensor]], steps: int) -> Kept:
    """A short run in which every group's curvature is measured at every step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    groups, _ = _grouped(model, optimizer, "role_layer")
    meter = Kept()
    _Run(optimizer, groups, losses, WeakSet([model]), meter).take(steps, steps)
    return meter


def exact(model: nn.Module, losses: list[Callable[[], Tensor]], steps: int) -> Exact:
    """b_k, A_kk and the squared length of the move of each step by double backward, along the same run."""
    groups = {group["name"]: group["params"] for group in param_groups(model, "role_layer")}
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    found: Exact = {name: [] for name in groups}
    everything = list(model.parameters())
    for step in range(steps):
        start = [p.detach().clone() for p in everything]
        optimizer.zero_grad()
        losses[step % len(losses)]().backward()
        optimizer.step()
        end = [p.detach().clone() for p in everything]
        move = {p: b - a for p, a, b in zip(everything, start, end, strict=True)}
        with torch.no_grad():
            torch._foreach_copy_(everything, start)
        gradients = torch.autograd.grad(losses[step % len(losses)](), everything, create_graph=True, allow_unused=True)
        of = dict(zip(everything, gradients, strict=True))
        for name, own in groups.items():
            slope = -sum((of[p] * move[p]).sum() for p in own if of[p] is not None)
            products = torch.autograd.grad(slope, own, retain_graph=True, allow_unused=True)
            curve = -sum((h * move[p]).sum() for p, h in zip(own, products, strict=True) if h is not None)
            found[name].append((slope.item(), curve.item(), sum(move[p].square().sum().item() for p in own)))
        with torch.no_grad():
            torch._foreach_copy_(everything, end)
    return found


def main() -> None:
    arguments(__doc__)
    workload = task("minilm-sst2")

    def losses(model: nn.Module, steps: int, context: Callable[[], Any] = nullcontext) -> list[Callable[[], Tensor]]:
        def within(loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
            def inside() -> Tensor:
                with context():
                    found = loss()
                    return found.float() if found.dtype == torch.bfloat16 else found

            return inside

        return [within(loss) for loss in closures(workload, model, SEED, steps)]

    double = workload.build(SEED).double()
    # The fused attention kernels have no double backward, and read a float32 mask wrongly beside float64.
    plain = partial(sdpa_kernel, SDPBackend.MATH)
    truth = exact(double, losses(double, STEPS, plain), STEPS)
    double = workload.build(SEED).double()
    meter = measured(double, losses(double, 1, plain), 1)
    rows = []
    for name, pairs in truth.items():
        slope, curvature, _ = pairs[0]
        own = meter.seen[name]
        rows.append(
            {
                "group": name, "slope": slope, "curvature": curvature,
                "slope_error": abs(own["slope"][0] / slope - 1) if slope else None,
                "curvature_error": abs(own["curvature"][0] / curvature - 1) if curvature > 0 else None,
            }
        )  # fmt: skip
    result: dict[str, Any] = {
        "seeds": [SEED], "rate": RATE, "steps": STEPS, "groups": len(rows), "one_batch": rows,
        "largest_slope_error": max(row["slope_error"] for row in rows),
        "largest_curvature_error": max(row["curvature_error"] for row in rows if row["curvature_error"] is not None),
        "not_convex": sum(row["curvature"] <= 0 for row in rows),
    }  # fmt: skip
    contexts = {
        "float32": nullcontext, "bfloat16 autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    }  # fmt: skip
    for dtype, context in contexts.items():
        model = workload.build(SEED)
        meter = measured(model, losses(model, STEPS, context), STEPS)
        influence = Influence.of(meter)
        result[dtype] = coverage(influence, meter, truth)
    write("truth", result)
    for key in ("largest_slope_error", "largest_curvature_error", "not_convex", *contexts):
        print(
            key,
            result[key] if not isinstance(result[key], dict) else {k: v for k, v in result[key].items() if k != "rows"},
        )


def coverage(influence: Influence, meter: Kept, truth: Exact) -> dict[str, Any]:
    """Influence beside the exact one of the same steps."""
    rows = []
    for name, pairs in truth.items():
        b = statistics.fmean(slope / square**0.5 for slope, _, square in pairs)
        # The others are left out, as they are measured.
        convex = [curvature / square for _, curvature, square in pairs if curvature > 0]
        if name in influence.error and convex and b > 0:
            a = statistics.geometric_mean(convex)
            right = b * b / a / influence.sizes[name]
            rows.append(
                {
                    "group": name, "exact": right, "ppi": influence.ppi[name], "error": influence.error[name],
                    "refused": influence.refused[name],
                }
            )  # fmt: skip
    off = [abs(row["ppi"] - row["exact"]) / row["error"] for row in rows]
    relative = sorted(abs(row["ppi"] / row["exact"] - 1) for row in rows)
    return {
        "groups": len(rows), "of": len(truth),
        "within_one_error": sum(x <= 1 for x in off), "within_two_errors": sum(x <= 2 for x in off),
        "median_relative_error": relative[len(relative) // 2], "largest_relative_error": relative[-1], "rows": rows,
    }  # fmt: skip


if __name__ == "__main__":
    main()
