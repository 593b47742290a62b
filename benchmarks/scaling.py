"""What a measured point costs against the number of parameters and of processes (DDP and FSDP2 over gloo, on the CPU).

    python -m benchmarks.scaling            # about ten minutes; writes benchmarks/results/scaling.json

Times are the fastest of the repeats on the slowest rank (the machine may be busy), one thread a process. Processes
share the cores where there are fewer: compare the columns of a row, not rows.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from benchmarks.machine import describe
from hidlr.displacement import Displacement
from hidlr.probe import Probe
from hidlr.reduction import Ranks

RESULT = Path(__file__).parent / "results" / "scaling.json"
SIZES = (1_000_000, 10_000_000, 100_000_000)
LAYOUTS = (("one process", 1), ("DDP", 2), ("DDP", 4), ("FSDP2", 2), ("FSDP2", 4))
GROUPS = 10
ROWS = 64  # of the batch, on each rank
REPEATS = 5

Times = dict[str, list[float]]


def model_of(parameters: int) -> nn.Sequential:
    """A stack of square layers, one group each."""
    torch.manual_seed(0)
    side = round((parameters / GROUPS) ** 0.5)
    return nn.Sequential(*(nn.Sequential(nn.Linear(side, side, bias=False), nn.Tanh()) for _ in range(GROUPS)))


def measure(rank: int, layout: str, ranks: int, parameters: int, repeats: int) -> dict[str, float]:
    """Milliseconds of a training step and of each part of a probe, on this rank."""
    model: nn.Module = model_of(parameters)
    side = next(model.parameters()).shape[0]
    if layout == "FSDP2":
        for layer in model.children():
            fully_shard(layer)
        fully_shard(model)
    wrapped = DistributedDataParallel(model) if layout == "DDP" else model
    tensors = [[p] for p in model.parameters()]
    optimizer = torch.optim.AdamW([{"params": own} for own in tensors], lr=1e-4, foreach=True)
    x = torch.randn(ROWS, side)
    shared = Ranks()
    times: Times = {}

    def loss() -> Tensor:
        return wrapped(x).square().mean()

    for _ in range(repeats + 1):  # the first is a warm-up
        optimizer.zero_grad()
        with _timed(times, "training"):
            loss().backward()
        with _timed(times, "snapshot"):
            displacement = Displacement(tensors)
        with _timed(times, "update"):
            optimizer.step()
        with _timed(times, "slopes"):
            slopes = displacement.slopes(shared)
        with _timed(times, "snapshot_end"), Probe(displacement, loss, model.parameters(), ranks=shared) as probe:
            pass
        with _timed(times, "exchange"):
            shared.settle(slopes, {})
        with Probe(displacement, loss, model.parameters(), ranks=shared) as probe:
            probe.measure([(0.0,) * GROUPS])
            with _timed(times, "place"):
                displacement.place([0.5] * GROUPS)
            with _timed(times, "forward"), torch.no_grad():
                loss()
            with _timed(times, "point"):
                probe.measure([(0.75,) * GROUPS])
            displacement.place([1.0] * GROUPS)
    ms = {name: 1e3 * min(values[1:]) for name, values in times.items()}
    ms["step"] = ms["training"] + ms["update"]
    ms["around"] = ms.pop("snapshot") + ms.pop("snapshot_end") + ms.pop("slopes")
    return ms


@contextmanager
def _timed(times: Times, name: str) -> Iterator[None]:
    if dist.is_initialized():
        dist.barrier()
    began = time.perf_counter()
    yield
    times.setdefault(name, []).append(time.perf_counter() - began)


def _worker(rank: int, layout: str, ranks: int, parameters: int, repeats: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", ranks), rank=rank, world_size=ranks)
    found = measure(rank, layout, ranks, parameters, repeats)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def row(layout: str, ranks: int, parameters: int, repeats: int = REPEATS) -> dict[str, Any]:
    """One line of the result: times on the slowest rank (ms)."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_worker, (layout, ranks, parameters, repeats, folder), nprocs=ranks)
        found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(ranks)]
    slowest = {name: max(own[name] for own in found) for name in found[0]}
    actual = sum(p.numel() for p in model_of(parameters).parameters())
    return {"layout": layout, "ranks": ranks, "parameters": actual, "groups": GROUPS, "rows": ROWS, "ms": slowest}


def table(rows: list[dict[str, Any]]) -> str:
    """The measured rows as a page shows them."""
    heads = ["parameters", "layout", "processes", "training step", "forward", "a point", "of it placing"]
    heads += ["around a probe", "exchange"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|" + "---:|" * 6]
    for entry in rows:
        ms = entry["ms"]
        cells = [f"{entry['parameters'] / 1e6:.0f} M", entry["layout"], str(entry["ranks"])]
        cells += [f"{ms[name]:.0f} ms" for name in ("step", "forward", "point", "place", "around")]
        lines.append(f"| {' | '.join(cells)} | {ms['exchange']:.2f} ms |")
    return "\n".join(lines)


def measured() -> str:
    """The table of the committed result."""
    return table(json.loads(RESULT.read_text())["rows"])


def expected() -> str:
    """Arithmetic, not measurement: one point beside one step under FSDP2, from the assumptions that the page states."""
    heads = ["parameters", "GPUs", "forward of a point", "placing it", "copies at the peak, a GPU", "exchange"]
    lines = [f"| {' | '.join([*heads, 'a point over a step'])} |", "|---|" + "---:|" * 6]
    for billions, ranks in ((1, 8), (7, 16), (13, 32), (70, 128)):
        count = billions * 1e9
        forward = 2 * count * TOKENS / FLOPS
        gather = 2 * count / LINK  # bf16 weights arrive once for a forward; hidden behind it where it is shorter
        place = MOVES * 4 * count / ranks / MEMORY
        exchange = 2e-5 * ranks
        point = max(forward, gather) + place + exchange
        step = max(3 * forward, 2 * gather + 4 * count / LINK)
        cells = [f"{billions} B", str(ranks), f"{forward:.2f} s", f"{1e3 * place:.1f} ms"]
        cells += [f"{3 * 4 * count / ranks / 1e9:.1f} GB", f"{1e3 * exchange:.1f} ms", f"{point / step:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


TOKENS = 16_384  # of a rank's part of the batch
FLOPS = 4e14  # a second, as reached in training in bfloat16
MEMORY = 2e12  # bytes a second
LINK = 1e11  # bytes a second into one GPU
MOVES = 5  # times a parameter's bytes are read or written to place it: copy 2, interpolate 3

TABLES: dict[str, Callable[[], str]] = {"scaling": measured, "scaling_expected": expected}


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES, help="parameters")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for parameters in map(int, options.sizes):
        for layout, ranks in LAYOUTS:
            rows.append(row(layout, ranks, parameters, options.repeats))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    result = {
        "command": "python -m benchmarks.scaling",
        "machine": describe(),
        "repeats": options.repeats,
        "rows": rows,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
