import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, scaling
from support.processes import run_ranks


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_nothing_is_measured_or_written(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(out)],
        cwd=Path(gpu.__file__).parent.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "no CUDA device" in done.stderr
    assert not out.exists()


def test_the_measurement_itself_on_a_tiny_model():
    size = gpu.Size(width=16, layers=1, heads=2, vocabulary=11, length=8, batch=4, steps=12)
    found = gpu.measure(size, torch.device("cpu"))
    assert found["plain"]["parameters"] == found["tuned"]["parameters"]
    assert found["plain"]["probes"] == 0 < found["tuned"]["probes"] <= found["tuned"]["points"]
    assert found["plain"]["seconds"] > 0
    assert found["peak_ratio"] is None
    json.dumps(found)


def test_the_default_size_is_about_350_million():
    with torch.device("meta"):
        model = gpu.Decoder(gpu.Size())
    assert 3.2e8 < sum(p.numel() for p in model.parameters()) < 3.8e8


def sharded(rank, ranks):
    return scaling.measure(rank, "FSDP2", ranks, 10_000, 1)


@pytest.mark.dist
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_row_of_scaling(ranks):
    found = run_ranks(sharded, 2) if ranks == 2 else [scaling.measure(0, "one process", 1, 10_000, 1)]
    for ms in found:
        assert set(ms) == {"training", "update", "step", "around", "exchange", "place", "forward", "point"}
        assert all(value > 0 for value in ms.values())
    entry = {"layout": "one", "ranks": ranks, "parameters": 10_000, "ms": found[0]}
    assert scaling.table([entry]).count("\n") == 2


def test_what_is_expected_is_arithmetic():
    lines = scaling.expected().splitlines()
    assert len(lines) == 6
    # 1 B parameters on 8 GPUs: 2e9 * 16384 / 4e14 = 0.08 s; 5 * 4e9 / 8 / 2e12 = 1.25 ms; 12e9 / 8 = 1.5 GB.
    assert lines[2].startswith("| 1 B | 8 | 0.08 s | 1.2 ms | 1.5 GB |")
