"""The examples run as their first lines say, and learn digits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hidlr

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "package"),
    [("trainer.py", "transformers"), ("accelerate_loop.py", "accelerate"), ("lightning_module.py", "lightning")],
)
def test_example(name, package, tmp_path):
    pytest.importorskip(package)
    pytest.importorskip("accelerate" if package == "transformers" else package)
    program = EXAMPLES / name
    assert program.read_text().count("\n") < 100
    source = str(Path(hidlr.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "HidlrWarning" not in done.stderr
    (accuracy,) = re.findall(r"^test accuracy (\d\.\d+)$", done.stdout, re.MULTILINE)
    assert float(accuracy) > 0.9
    assert all(group in done.stdout for group in ("mlp", "bias", "head"))
    assert not list(tmp_path.iterdir())
