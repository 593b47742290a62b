"""What the tuner costs: on steps that do not probe, on steps that do, in memory, and over a whole run.

    python -m benchmarks.overhead            # about two minutes; writes benchmarks/results/overhead.json

Times are medians of many steps with one thread, tuned and untuned steps taken in turn, since the
machine may be busy with something else. Memory is the process's own high-water mark.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import describe
from hidlr import HiDLR
from hidlr.displacement import Displacement
from hidlr.engines import Decision, Fixed, Measure, StepView
from hidlr.training import RunConfig
from hidlr.training.session import Session

RESULT = Path(__file__).parent / "results" / "overhead.json"


def _model(groups: int, parameters: int) -> tuple[nn.ModuleList, Callable[[], Tensor]]:
    side = round((parameters / groups) ** 0.5)
    layers = nn.ModuleList(nn.Linear(side, side, bias=False) for _ in range(groups))
    x = torch.randn(4, side)

    def loss() -> Tensor:
        hidden = x
        for layer in layers:
            hidden = hidden + 0.1 * torch.tanh(layer(hidden))
        return hidden.square().mean()

    return layers, loss


def _optimizer(layers: nn.ModuleList) -> torch.optim.Optimizer:
    groups = [{"params": [layer.weight], "name": f"layer_{i}"} for i, layer in enumerate(layers)]
    return torch.optim.AdamW(groups, lr=1e-4)


def not_due(groups: int = 100, parameters: int = 10_000_000, repeats: int = 40) -> dict[str, float]:
    """Time added by a tuner on steps it does not measure, over the same step without one."""
    torch.manual_seed(0)
    layers, loss = _model(groups, parameters)
    optimizer = _optimizer(layers)
    tuner = HiDLR(optimizer, engine=Fixed(every=10**9), total_steps=10**6)
    loss().backward()
    optimizer.step()
    tuner.step(loss)  # step 0 is due
    whole, added = [], []
    for _ in range(repeats):
        optimizer.zero_grad()
        began = time.perf_counter()
        loss().backward()
        optimizer.step()
        between = time.perf_counter()
        tuner.step(loss)
        ended = time.perf_counter()
        whole.append(between - began)
        added.append(ended - between)
    # The hooks run inside optimizer.step(); time them on their own, many calls at once.
    began = time.perf_counter()
    for _ in range(1000):
        tuner._before_step(optimizer, (), {})
        tuner._after_step(optimizer, (), {})
    hooks = (time.perf_counter() - began) / 1000
    step = statistics.median(whole) - hooks
    return {
        "groups": groups,
        "parameters": sum(p.numel() for p in layers.parameters()),
        "base_step_ms": step * 1e3,
        "added_ms": (statistics.median(added) + hooks) * 1e3,
        "share": (statistics.median(added) + hooks) / step,
    }


def due(groups: int = 100, parameters: int = 10_000_000, repeats: int = 15) -> dict[str, float]:
    """Time of placing the parameters at one point, and of one whole probe beyond its forward passes."""
    torch.manual_seed(0)
    layers, loss = _model(groups, parameters)
    optimizer = _optimizer(layers)
    count = sum(p.numel() for p in layers.parameters()) / 1e6
    loss().backward()
    displacement = Displacement([[layer.weight] for layer in layers])
    optimizer.step()
    displacement.finish()
    placing = []
    for i in range(2 * repeats):
        began = time.perf_counter()
        displacement.place([0.25 + 0.5 * (i % 2)] * groups)
        placing.append(time.perf_counter() - began)
    forward = []
    with torch.no_grad():
        for _ in range(repeats):
            began = time.perf_counter()
            loss()
            forward.append(time.perf_counter() - began)
    return {
        "groups": groups,
        "parameters": count * 1e6,
        "forward_ms": statistics.median(forward) * 1e3,
        "place_ms_per_million_per_point": statistics.median(placing) * 1e3 / count,
    }


class _LookingBack(Fixed):
    """Keeps the rates, and looks back like the default engine's warm-up."""

    @property
    def looks_back(self) -> float:
        return 1.0

    def decide(self, view: StepView, measure: Measure) -> Decision:
        if view.back is not None:
            view.back.measure(0.0)
        return super().decide(view, measure)


def memory(engine: type[Fixed] = Fixed, parameters: int = 20_000_000) -> dict[str, float]:
    """Copies of the parameters held at the peak of a due step, and after it."""
    torch.manual_seed(0)
    layers, loss = _model(20, parameters)
    optimizer = _optimizer(layers)
    tuner = HiDLR(optimizer, engine=engine(every=2), schedule="constant")
    size = sum(p.numel() * p.element_size() for p in layers.parameters())

    def one_step() -> None:
        loss().backward()
        optimizer.step()
        tuner.step(loss)

    for _ in range(4):
        one_step()
    if tuner.due:
        one_step()
    before = _resident()
    _reset_peak()
    one_step()
    plain = _peak() - before
    before = _resident()
    _reset_peak()
    one_step()
    probed = _peak() - before
    return {
        "parameters": size / 4,
        "peak_copies": (probed - plain) / size,
        "left_copies": max(0.0, (_resident() - before) / size),
    }


def memory_looking_back() -> dict[str, float]:
    """The same for an engine that looks back; its copy between probes is there before the step and after it."""
    return memory(_LookingBack)


def digits(seed: int = 0) -> dict[str, float]:
    """Share of wall-clock that probing adds to a default run on digits."""
    session = Session(RunConfig("digits", seed=seed).resolved())
    # Only the optimizer step's own time counts as base: evaluations are left out of `seconds`.
    while not session.finished:
        session.advance()
    base = session.seconds - session.probe_seconds
    points = sum(len(record.points) for record in session.control.history)
    return {
        "seed": seed,
        "steps": session.step,
        "points": points,
        "base_seconds": base,
        "probe_seconds": session.probe_seconds,
        "share": session.probe_seconds / base,
    }


def _apart(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Measure in a process of its own, whose allocator gives every tensor's pages back at once."""
    code = "import json, torch; torch.set_num_threads(1); from benchmarks import overhead as o; "
    code += f"print(json.dumps(o.{measure.__name__}()))"
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) * 1024


def _resident() -> int:
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULT)
    out = parser.parse_args().out
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "command": "python -m benchmarks.overhead",
        "machine": describe(),
        "not_due": not_due(),
        "due": due(),
        "memory": _apart(memory) if os.path.exists("/proc/self/clear_refs") else None,
        "memory_looking_back": _apart(memory_looking_back) if os.path.exists("/proc/self/clear_refs") else None,
        "digits": [digits(seed) for seed in range(3)],
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
