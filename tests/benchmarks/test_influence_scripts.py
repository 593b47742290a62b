import json
import math
from pathlib import Path

import pytest
import torch
from benchmarks.influence import adaptive, report
from benchmarks.influence.alone import alone, climb
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


@pytest.mark.parametrize("best", [1e-5, 2e-5, 1e-4, 1e-3])
def test_rates_are_climbed_to_and_seeds_follow_at_the_best(best: float) -> None:
    rows: list[dict] = []
    for name, method, rate, seed in adaptive.wanted(rows):
        metric = -abs(math.log(rate / best))
        rows.append({"task": name, "method": method, "rate": rate, "seed": seed, "val_loss": 0.0})
        rows[-1] |= {"val_accuracy": metric, "val_mcc": metric}
    full = [row for row in rows if (row["task"], row["method"]) == (adaptive.TASKS[0], "full")]
    tried = [row["rate"] for row in full if row["seed"] == adaptive.TUNING_SEED]
    ladder = adaptive.RATES["full"]
    at = ladder.index(best)
    assert len(set(tried)) == len(tried)
    assert set(ladder[max(at - 1, 0) : at + 2]) <= set(tried)
    assert [(row["rate"], row["seed"]) for row in full[-3:]] == [(best, seed) for seed in adaptive.SEEDS]
    # Known methods come before ours, and nothing is done twice.
    ours = [row["method"] in adaptive.OURS for row in rows]
    assert ours == sorted(ours)
    assert list(adaptive.wanted(rows)) == []


def test_a_ladder_is_climbed_to_the_best_rate() -> None:
    falls = climb(lambda rate: -abs(math.log(rate / 1e-1)))
    assert set(falls) == {"0.003", "0.01", "0.03", "0.1", "0.3"}
    assert max(falls, key=lambda rate: falls[rate]) == "0.1"


def test_tables_are_rectangular_and_say_what_was_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "FOLDER", tmp_path)
    runs = [
        {
            "task": "minilm-sst2", "method": method, "rate": 1e-3, "seed": seed, "test_accuracy": value,
            "val_accuracy": value, "val_loss": 0.0, "trained": 1, "of": 100, "choosing_seconds": seconds,
        }
        for method, value, seconds in (
            ("full", 0.9, 0), ("LoRA r=8", 0.89, 0), ("hidlr", 0.88, 9), ("transferred", 0.87, 2), ("BitFit", 0.8, 0),
        )
        for seed in (10, 0, 1, 2)
    ]  # fmt: skip
    (tmp_path / "adaptive.json").write_text(json.dumps({"seeds": [0, 1, 2], "tuning_seed": 10, "runs": runs}))
    lines = report.adaptive_table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 5
    assert [row[2:4] for row in report._adaptive()] == [("hidlr 88.0; LoRA r=8 89.0", False), ("97.8%", False)]
    assert [row[2:4] for row in report._transfer()] == [("-1.0 points", False), ("0.22", True)]
    (tmp_path / "adaptive.json").write_text(json.dumps({"seeds": [0, 1, 2], "tuning_seed": 10, "runs": runs[:4]}))
    assert [row[2:4] for row in report._adaptive()] == [
        (f"1 of {len(report.METHODS)} methods have all their runs", None)
    ]
    (tmp_path / "adaptive.json").write_text(json.dumps({"seeds": [0, 1, 2], "tuning_seed": 10, "runs": runs[:5]}))
    assert report.adaptive_table().splitlines()[-1].endswith("| LoRA r=8 | 1% | 0.001 | 89.0 |  |  |")
