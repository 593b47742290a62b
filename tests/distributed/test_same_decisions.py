"""Ranks that share the batch decide alike, to the last bit, and as one process with the whole batch would."""

import pytest
import torch

import hidlr
from support.parallel import WRAPS, Run, alone, batches, plain, train
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
@pytest.mark.parametrize("ranks", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_as_one_process_with_the_global_batch(wrap, ranks, optimizer):
    options = {"optimizer": optimizer}
    one = alone(ranks, options)
    outcomes = run_ranks(train, ranks, wrap, options)
    for other in outcomes[1:]:
        assert_equal(other, outcomes[0])  # parameters and rates, bit for bit
    found = outcomes[0]
    assert [len(points) for points in found["points"]] == [len(points) for points in one["points"]]
    assert len(found["points"]) >= 6
    torch.testing.assert_close(found["parameters"], one["parameters"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found["losses"], one["losses"], rtol=1e-6, atol=1e-9)
    for mine, its in zip(found["rates"], one["rates"], strict=True):
        assert mine == pytest.approx(its, rel=1e-6)
    # And the rates have moved: this is no comparison of two idle tuners.
    assert all(
        rate > 1.5 * found["rates"][0][name] or rate < found["rates"][0][name] / 1.5
        for name, rate in found["rates"][-1].items()
    )


def found(rank, ranks, wrap):
    run = Run.build(WRAPS[wrap], ranks, [rank], tuned=False)
    (closure,) = run.closures(*next(batches()))
    before = run.parameters()
    inner = run.model.module if wrap == "ddp" else run.model
    report = hidlr.find_rates(inner, run.optimizer, closure, process_group=None)
    assert_equal(run.parameters(), before)
    return report.rates


@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_rates_without_training(wrap):
    run = Run.build(plain, 2, [0, 1], tuned=False)
    halves = run.closures(*next(batches()))
    one = hidlr.find_rates(run.model, run.optimizer, lambda: sum(half() for half in halves))
    first, second = run_ranks(found, 2, wrap)
    assert first == second
    assert first == pytest.approx(one.rates, rel=1e-6)
