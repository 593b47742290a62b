"""The examples that need nothing but torch run as their first lines say, and learn digits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
ACCURACY = 0.9
# torch 2.13 with gloo, now and then, also in a script of six lines without hidlr and after a barrier and
# destroy_process_group: its worker threads outlive the group, and one that lets go of a tensor while the interpreter
# ends aborts the process (pytorch/pytorch#179291). The run is then made once more.
TORN_DOWN = "terminate called without an active exception"


def run(name: str, folder: Path, *launcher: str, again: bool = True) -> float:
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
    if done.returncode and again and launcher and TORN_DOWN in done.stderr:
        return run(name, folder, *launcher, again=False)
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
