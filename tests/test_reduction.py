"""One process alone: everything is the identity. What several ranks make of it is in `tests/distributed`."""

import math
import sys

import pytest
import torch
from torch import nn

from hidlr import shards
from hidlr.errors import ClosureError, InputError
from hidlr.reduction import ALONE, Ranks


@pytest.mark.parametrize("ranks", [ALONE, Ranks(), Ranks(False)])
def test_alone_nothing_changes(ranks):
    parameter = nn.Parameter(torch.randn(3))
    assert ranks.size == 1
    assert ranks.share(parameter) == 1.0
    assert ranks.settle([1.5, -2.0], {"anything": 3.0}) == [1.5, -2.0]
    assert math.isnan(ranks.settle([math.nan], {})[0])
    assert ranks.mean([1.0, math.inf]) == [1.0, math.inf]
    assert ranks.compare({"all": 3}, [parameter]) == {}
    with pytest.raises(ZeroDivisionError):
        ranks.mean([], ZeroDivisionError())


class Rows(Ranks):
    """Several ranks, of which the others' rows are given."""

    def __init__(self, others):
        super().__init__()
        self.others = others

    @property
    def size(self):
        return 1 + len(self.others)

    def _gather(self, numbers):
        return torch.tensor([list(numbers), *self.others], dtype=torch.float64)


def test_slopes_add_up_and_what_no_rank_knows_stays_unknown():
    ranks = Rows([[2.0, math.nan, math.nan, 5.0], [0.5, 1.0, math.nan, 5.0]])
    sums = ranks.settle([1.0, math.nan, math.nan], {"the step": 5.0})
    assert sums[:2] == [3.5, 1.0]
    assert math.isnan(sums[2])


def test_an_infinite_slope_is_no_slope():
    assert math.isnan(Rows([[math.inf]]).settle([1.0], {})[0])


def test_ranks_that_differ_are_named_with_their_values():
    with pytest.raises(InputError, match=r"ranks differ in the step: rank 0 has 5, rank 1 has 6.*process_group=False"):
        Rows([[6.0]]).settle([], {"the step": 5.0})


def test_losses_are_means_and_each_rank_counts_the_same():
    assert Rows([[3.0, 4.0, 0.0]]).mean([1.0, 2.0]) == [2.0, 3.0]
    assert math.isnan(Rows([[math.nan, 0.0]]).mean([1.0])[0])


def test_a_failure_elsewhere_names_the_rank_and_one_here_is_raised_as_it_is():
    with pytest.raises(ClosureError, match="raised on rank 1 of 3, not here"):
        Rows([[3.0, 1.0], [3.0, 0.0]]).mean([1.0])
    with pytest.raises(KeyError):
        Rows([[3.0, 1.0], [3.0, 0.0]]).mean([1.0], KeyError("mine"))


def test_a_replica_is_a_share_of_all_ranks():
    assert Rows([[], [], []]).share(nn.Parameter(torch.ones(2))) == 0.25


def test_plain_tensors_are_their_own_parts():
    tensor = nn.Parameter(torch.randn(4))
    assert shards.local(tensor) is tensor
    assert shards.whole(tensor, tensor) is tensor
    assert shards.gradient(tensor) is None
    assert shards.mesh_size(tensor) is None
    copy = shards.laid_out(tensor, tensor)
    assert torch.equal(copy, tensor)
    assert copy.data_ptr() != tensor.data_ptr()
    assert shards.checksum([torch.tensor([-1.0, 2.0]), torch.ones(2, 2)]) == 7.0


def test_sharded_tensors_are_not_looked_for_where_there_can_be_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.distributed.tensor", raising=False)
    tensor = torch.ones(2)
    assert shards.local(tensor) is tensor
