"""Two processes that share the batch: Accelerate and Trainer decide alike on both, and as one process would.

In float64: in float32 the order of summation alone moves a measured rate by a part in a thousand.
"""

import os
from typing import Any

import pytest
import torch

import hidlr
from support.loops import Classifier, Run, batches, by_hand, examples
from support.processes import run_ranks

pytestmark = pytest.mark.dist

STEPS = 24  # three passes over 64 rows, two ranks with batches of 4


def joined(rank: int, ranks: int) -> None:
    """The environment as a launcher would have set it; the process group is there already."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1", MASTER_PORT="29500", ACCELERATE_USE_CPU="true",
    )  # fmt: skip


def rows(size: int) -> Any:
    data = [{"input_ids": row["input_ids"], "labels": torch.tensor(row["labels"])} for row in examples()]
    return torch.utils.data.DataLoader(data, batch_size=size)


def accelerated(rank: int, ranks: int, accumulate: int) -> Run:
    import accelerate

    from hidlr.integrations import AcceleratedHiDLR

    joined(rank, ranks)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    assert accelerator.num_processes == ranks
    model = Classifier().double()
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, "role"), lr=1e-3, weight_decay=0.0)
    model, optimizer, loader = accelerator.prepare(model, optimizer, rows(4))
    tuner = AcceleratedHiDLR(accelerator, optimizer, total_steps=STEPS // accumulate)

    def loss_of(batch: Any) -> torch.Tensor:
        return model(**batch)["loss"]

    for _ in range(3):
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(batch))
                if accelerator.sync_gradients:
                    tuner.clip_grad_norm_(model.parameters(), 0.3)
                optimizer.step()
                tuner.step(loss_of, batch)
                optimizer.zero_grad()
    return Run.of(accelerator.unwrap_model(model), tuner.tuner)


def in_the_trainer(rank: int, ranks: int, folder: str) -> Run:
    import transformers

    from hidlr.integrations import HiDLRTrainer

    joined(rank, ranks)
    args = transformers.TrainingArguments(
        output_dir=folder, max_steps=STEPS, per_device_train_batch_size=4, learning_rate=1e-3, report_to=[],
        save_strategy="no", logging_strategy="no", use_cpu=True, disable_tqdm=True, optim="adamw_torch",
        train_sampling_strategy="sequential", max_grad_norm=0.3, ddp_find_unused_parameters=False,
    )  # fmt: skip
    trainer = HiDLRTrainer(model=Classifier().double(), args=args, train_dataset=examples())
    trainer.train()
    assert args.world_size == ranks
    return Run.of(trainer.accelerator.unwrap_model(trainer.model), trainer.tuner)


def assert_alike(found: list[Run], expected: Run) -> None:
    """Bit for bit across ranks, and as one process to 1e-6."""
    first, *others = found
    for other in others:
        assert other.rates == first.rates
        torch.testing.assert_close(other.parameters, first.parameters, rtol=0, atol=0)
    assert first.rates == pytest.approx(expected.rates, rel=1e-6)
    torch.testing.assert_close(first.parameters, expected.parameters, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_accelerate(accumulate):
    pytest.importorskip("accelerate")
    data = [batch for _ in range(3) for batch in batches()]
    steps = [data[i : i + accumulate] for i in range(0, len(data), accumulate)]
    expected = by_hand(Classifier().double(), steps, loss=lambda m, b: m(**b)["loss"] / accumulate, max_norm=0.3)
    assert_alike(run_ranks(accelerated, 2, accumulate), expected)


def test_the_trainer(tmp_path):
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    expected = by_hand(
        Classifier().double(),
        [[batch] for _ in range(3) for batch in batches()],
        max_norm=0.3,
        decay=lambda step: max(0.0, (STEPS - step) / STEPS),
    )
    assert_alike(run_ranks(in_the_trainer, 2, str(tmp_path)), expected)
