"""Ranks that share the batch decide alike, to the last bit, and as one process with the whole batch would."""

import pytest
import torch

from support.parallel import alone, train
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
@pytest.mark.parametrize("ranks", [2, 4])
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
