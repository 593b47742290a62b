"""The cost of default settings on one CUDA GPU: a bfloat16 transformer of about 350 M parameters.

    python -m benchmarks.gpu            # a few minutes; writes benchmarks/results/gpu.json

Without CUDA it says so and ends. The same run twice, without a tuner and with one: time and peak memory of each, on
random tokens (what they are does not change what a step costs).
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hidlr
from benchmarks.machine import describe

RESULT = Path(__file__).parent / "results" / "gpu.json"


@dataclass(frozen=True)
class Size:
    """A decoder and its batches; the default has about 350 M parameters."""

    width: int = 1024
    layers: int = 24
    heads: int = 16
    vocabulary: int = 32_000
    length: int = 1024
    batch: int = 8
    steps: int = 300


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.norm1, self.norm2 = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)
        self.up, self.down = nn.Linear(size.width, 4 * size.width), nn.Linear(4 * size.width, size.width)

    def forward(self, h: Tensor) -> Tensor:
        """Hidden states [batch, length, width] to the same."""
        q, k, v = self.qkv(self.norm1(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return h + self.down(F.gelu(self.up(self.norm2(h))))


class Decoder(nn.Module):
    """Tokens [batch, length] to the loss of each next one."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.length, size.width)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """The mean loss, float32: bfloat16 has too few digits for it."""
        places = torch.arange(tokens.shape[1] - 1, device=tokens.device)
        hidden = self.blocks(self.embedding(tokens[:, :-1]) + self.positions(places))
        logits = self.head(self.norm(hidden)).float()
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def run(size: Size, device: torch.device, *, tuned: bool) -> dict[str, Any]:
    """Seconds, probes and peak memory of one training run."""
    torch.manual_seed(0)
    model = Decoder(size).to(device, torch.bfloat16)
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=1e-4, fused=device.type == "cuda")
    tuner = hidlr.HiDLR(optimizer, total_steps=size.steps + 1) if tuned else None
    generator = torch.Generator().manual_seed(1)
    cuda = device.type == "cuda"
    began = 0.0
    for step in range(size.steps + 1):
        if step == 1:  # the first step warms up: kernels are chosen, Adam's state is made
            if cuda:
                torch.cuda.synchronize()
            began = time.perf_counter()
        tokens = torch.randint(size.vocabulary, (size.batch, size.length + 1), generator=generator).to(device)
        model(tokens).backward()
        optimizer.step()
        if tuner is not None and step:
            tuner.step(lambda tokens=tokens: model(tokens))
        optimizer.zero_grad()
    if cuda:
        torch.cuda.synchronize()
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": time.perf_counter() - began,
        "peak_bytes": torch.cuda.max_memory_allocated() if cuda else None,
        "probes": len(tuner.history) if tuner else 0,
        "points": sum(record.forwards for record in tuner.history) if tuner else 0,
    }


def measure(size: Size, device: torch.device) -> dict[str, Any]:
    """Both runs, and what the tuner added."""
    found = {}
    for name in ("plain", "tuned"):
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        found[name] = run(size, device, tuned=name == "tuned")
    plain, tuned = found["plain"], found["tuned"]
    peak = tuned["peak_bytes"] / plain["peak_bytes"] if plain["peak_bytes"] else None
    return {**found, "overhead": tuned["seconds"] / plain["seconds"] - 1, "peak_ratio": peak}


def main() -> int:
    """Measure on a GPU, if there is one, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULT)
    out = parser.parse_args().out
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing measured, nothing written", file=sys.stderr)
        return 0
    size = Size()
    result = {
        "command": "python -m benchmarks.gpu",
        "machine": {**describe(), "gpu": torch.cuda.get_device_name()},
        "size": asdict(size),
        **measure(size, torch.device("cuda")),
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
