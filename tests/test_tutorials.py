"""The tutorials' scripts run as their pages say, and every script that a page shows is there and tested."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.pretrained import reviews, save_tiny_bert, write_tsv

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for page in (ROOT / "docs/tutorials").glob("*.md") if page.name != "index.md")


def run(name: str, folder: Path, *arguments: str) -> str:
    program = ROOT / "examples" / name
    assert program.read_text().count("\n") < 110
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "HidlrWarning" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("task")
    write_tsv(folder / "train.tsv", reviews(400, 0))
    model = save_tiny_bert(folder / "model")
    # Weights far enough from zero that words differ in what comes out: not pretrained, but not on a plateau either.
    config = transformers.BertConfig.from_pretrained(model, initializer_range=0.3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(model)
    return folder, ["train.tsv", "--model", str(model), "--start", "1e-3"]


def accuracy_in(text: str) -> float:
    (value,) = re.findall(r"^accuracy (\d\.\d+)$", text, re.MULTILINE)
    return float(value)


def test_fine_tuning_on_a_tsv(task):
    folder, arguments = task
    printed = run("finetune_text.py", folder, *arguments, "--epochs", "4")
    assert accuracy_in(printed) > 0.9
    assert all(name in printed for name in ("embedding", "attention", "mlp", "bias", "norm", "head", "PPI"))


def test_lora(task):
    pytest.importorskip("peft")
    folder, arguments = task
    printed = run("lora.py", folder, *arguments, "--steps", "101", "--targets", "query", "value")
    assert all(name in printed for name in ("lora_A", "lora_B", "head"))
    (times,) = re.findall(r"^B learns (\d+\.\d) times as fast as A$", printed, re.MULTILINE)
    assert float(times) > 0
    assert accuracy_in(printed) > 0.5
    for name in ("lora_A", "lora_B", "head"):
        (found,) = re.findall(rf"^{name} +\S+ +(\S+) +(\S+) ", printed, re.MULTILINE)
        assert found[0] != found[1] == "1.0e-3"  # the rate is not where it started


def test_freezing(tmp_path):
    printed = run("freeze.py", tmp_path)
    found = {
        name: (int(size), float(accuracy))
        for name, size, accuracy in re.findall(r"^([a-z ]+): (\d+) parameters, accuracy (\d\.\d+)$", printed, re.M)
    }
    assert list(found) == ["all", "chosen", "head alone"]
    assert found["chosen"][0] <= 0.1 * found["all"][0]
    assert found["all"][1] > 0.9
    assert found["chosen"][1] > found["head alone"][1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_scripts_that_tests_run(page):
    shown = set(re.findall(r"\{literalinclude\} \.\./\.\./(examples/\w+\.py)", page.read_text()))
    assert shown
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    for script in shown:
        assert (ROOT / script).exists()
        assert f'"{Path(script).name}"' in tests
        assert (
            f"python {script}" in page.read_text()
            or f"torchrun --standalone --nproc-per-node 2 {script}" in page.read_text()
        )


def test_every_tutorial_is_in_the_table_of_contents():
    assert [page.stem for page in PAGES] == sorted(
        re.findall(r"^(\w+)$", (ROOT / "docs/tutorials/index.md").read_text(), re.M)
    )
