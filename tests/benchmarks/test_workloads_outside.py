"""Problems outside the benchmark, and the options that tell them from it."""

import pytest
import torch
from benchmarks.command import run
from benchmarks.scoring.cli import table

from benchmarks import workloads
from hidlr.errors import InputError


@pytest.mark.parametrize("name", workloads.SUITES["outside"])
def test_problems_outside_the_benchmark_can_be_learned(name: str) -> None:
    """They need no data, depend on the seed alone, and a few steps at a usual rate bring them down."""
    workload = workloads.get(name)
    model, again = workload.build(1), workload.build(1)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(workload.batch(3, 1), workload.batch(3, 1), strict=True))
    before = workload.evaluate(model)
    assert workload.evaluate(model) == before  # the same draws, for losses that draw
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0)
    for step in range(40):
        optimizer.zero_grad()
        workload.loss(model, workload.batch(step, 1)).backward()
        optimizer.step()
    assert workload.evaluate(model)[workload.metric_name] < before[workload.metric_name]


def test_a_suite_knows_its_own_workloads_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--suite", "outside", "--workload", "digits-vae", "--dry-run"]) == 0
    assert "digits-vae adamw reference" in capsys.readouterr().out
    with pytest.raises(InputError, match="unknown workload 'digits-vae'"):
        run(["--workload", "digits-vae", "--dry-run"])


@pytest.mark.parametrize("asked", [["--workload", "wine-softmax"], ["--suite", "outside"]])
def test_a_quick_run_of_what_is_not_in_the_quick_tier_is_not_a_run_of_everything(asked: list[str]) -> None:
    with pytest.raises(InputError, match="leave --tier out"):
        run(["--tier", "quick", *asked, "--dry-run"])


def test_the_pictures_of_the_docs_are_not_drawn_from_another_suite(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        table(["--suite", "outside", "--plots"])
    assert "leave --suite out" in capsys.readouterr().err
