import pytest
import torch
from benchmarks.influence import adaptive
from benchmarks.influence.alone import alone
from benchmarks.influence.stability import agreement
from benchmarks.influence.tasks import spearman
from torch import nn

from hidlr.influence import Influence


def test_rank_correlation() -> None:
    assert spearman([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert spearman([1, 2, 3], [0.3, 0.2, 0.1]) == pytest.approx(-1)
    # 1 - 6 sum d^2 / (n (n^2 - 1)) without ties.
    assert spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(1 - 6 * 4 / (5 * 24))
    # With ties, Pearson's of the mean ranks (1.5, 1.5, 3) and (1, 2, 3).
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(3**0.5 / 2)


def test_agreement_is_over_common_groups() -> None:
    one, other = ({"a": 3.0, "b": 2.0, "c": 1.0}, {"b": 5.0, "c": 1.0, "d": 9.0})
    assert agreement(*(Influence(ppi, {}, {}, {}, {}) for ppi in (one, other))) == pytest.approx(1)


def test_one_group_is_trained_alone() -> None:
    model = nn.Linear(3, 1)
    start = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(16, 3)
    losses = [lambda: (model(x) - 1).square().mean()]
    with torch.no_grad():
        before = float(losses[0]())
    assert alone(model, start, [model.bias], losses, 1e-2) < before
    torch.testing.assert_close(model.weight.detach(), start["weight"], rtol=0, atol=0)
    assert not torch.equal(model.bias.detach(), start["bias"])


def test_seeds_follow_once_the_rates_are_tuned() -> None:
    rows = [
        {
            "task": task,
            "method": method,
            "rate": rate,
            "seed": 10,
            "val_accuracy": rate,
            "val_mcc": rate,
            "val_loss": 0.0,
        }
        for task in adaptive.TASKS
        for method, (kind, _) in adaptive.METHODS.items()
        for rate in adaptive.RATES[kind]
    ]
    todo = list(adaptive.wanted(rows))
    assert len(todo) == len(adaptive.TASKS) * len(adaptive.METHODS) * len(adaptive.SEEDS)
    assert {rate for _, method, rate, _ in todo if method == "full"} == {2e-4}
    first = list(adaptive.wanted([]))
    assert {seed for *_, seed in first} == {10}
    assert len(first) == len(rows)
