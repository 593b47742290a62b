"""A process killed by SIGKILL, in the worst moments: the last checkpoint loads and the run is the one never stopped."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hidlr.training import RunConfig, train
from hidlr.training.checkpoint import load_checkpoint

Read = Callable[[Path], dict[str, Any]]
CONFIG = RunConfig("diabetes", steps=24, checkpoint_every=5, seed=3)

_START = f"""
import os, signal, sys
from pathlib import Path
import torch
from hidlr.training import RunConfig, train
from hidlr.workloads.diabetes import Diabetes

torch.set_num_threads(1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def at(owner, name, count, before):
    '''Die at the so-many-th call of a function, or after doing part of its work.'''
    real, calls = getattr(owner, name), [0]
    def wrapped(*args, **kwargs):
        calls[0] += 1
        if calls[0] == count:
            before(*args, **kwargs)
            die()
        return real(*args, **kwargs)
    setattr(owner, name, wrapped)

MOMENT
train({CONFIG!r}, Path(sys.argv[1]))
"""

_MOMENTS = {
    # A probe that has the parameters at another point than the step's end, after the second checkpoint.
    "a probe": """
import hidlr.training.checkpoint as checkpoint
from hidlr.displacement import Displacement
place, write, written = Displacement.place, checkpoint.write_atomically, []
def noted(path, data):
    write(path, data)
    written.append(path)
def placed(self, point):
    place(self, point)
    if len(written) >= 2 and any(xi != 1.0 for xi in point):
        die()
checkpoint.write_atomically = noted
Displacement.place = placed
""",
    "a probe's forward pass": """
at(Diabetes, "loss", 32, lambda *args: None)
""",
    "the first half of a checkpoint's bytes": """
def half(path, data):
    with open(path.with_name(f".{path.name}.tmp"), "wb") as file:
        file.write(data[: len(data) // 2])
import hidlr.training.checkpoint as checkpoint
at(checkpoint, "write_atomically", 4, half)
""",
    "a checkpoint, written but not in its place": """
at(os, "replace", 6, lambda *args: None)
""",
    "a line of the history": """
from hidlr.training.jsonlines import JsonLines
def part(self, line):
    with open(self.path, "ab") as file:
        file.write(line.encode()[: len(line) // 2])
at(JsonLines, "append", 13, part)
""",
}


@pytest.mark.parametrize("moment", _MOMENTS)
def test_the_run_goes_on_from_its_last_checkpoint(moment: str, tmp_path: Path, contents: Read) -> None:
    script = _START.replace("MOMENT", _MOMENTS[moment])
    out = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", script, str(out)], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "result.json").exists()
    state, _ = load_checkpoint(out / "checkpoint.pt")
    assert 0 < state["step"] < 24
    train(CONFIG, out, resume=True)
    train(CONFIG, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")
