"""The examples that need nothing but torch run as their first lines say, and learn digits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
ACCURACY = 0.9


def run(name: str, folder: Path, *launcher: str) -> float:
    program = EXAMPLES / name
    assert program.read_text().count("\n") < 100
    done = subprocess.run(
        [sys.executable, *launcher, str(program)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "HidlrWarning" not in done.stderr
    (accuracy,) = re.findall(r"^accuracy (\d\.\d+)$", done.stdout, re.MULTILINE)
    assert all(name in done.stdout for name in ("head", "mlp", "bias", "norm"))
    return float(accuracy)


def test_plain(tmp_path):
    assert run("plain.py", tmp_path) > ACCURACY


@pytest.mark.dist
@pytest.mark.parametrize("name", ["ddp.py", "fsdp2.py"])
def test_on_two_ranks(name, tmp_path):
    assert run(name, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2") > ACCURACY
    if name == "ddp.py":
        assert len((tmp_path / "ddp-history.jsonl").read_text().splitlines()) > 3
