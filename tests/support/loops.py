"""A tiny classifier of token ids, its data, and the loop written out by hand: what every integration must equal."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hidlr

WORDS, LENGTH = 50, 8


def tiny_bert(dropout: float = 0.0) -> nn.Module:
    """Two layers of width 16, the same each time."""
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        vocab_size=WORDS,
        max_position_embeddings=16,
        num_labels=2,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.BertForSequenceClassification(config)


class Classifier(nn.Module):
    """No library needed: embedding, pooling, two maps; returns its loss as transformers' models do."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(WORDS, 16)
            self.hidden = nn.Linear(16, 16)
            self.norm = nn.LayerNorm(16)
            self.dropout = nn.Dropout(dropout)
            self.classifier = nn.Linear(16, 2)

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        hidden = self.embedding(input_ids).mean(1)
        hidden = self.dropout(self.norm(torch.tanh(self.hidden(hidden))))
        logits = self.classifier(hidden)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def examples(count: int = 64) -> list[dict[str, Any]]:
    """Token ids and whether most are small."""
    ids = torch.randint(5, WORDS, (count, LENGTH), generator=torch.Generator().manual_seed(1))
    return [{"input_ids": row, "labels": int((row < 25).sum() > 3)} for row in ids]


def batches(size: int = 8, count: int = 64) -> list[dict[str, Tensor]]:
    """The examples in their order, in batches."""
    rows = examples(count)
    return [
        {
            "input_ids": torch.stack([row["input_ids"] for row in rows[i : i + size]]),
            "labels": torch.tensor([row["labels"] for row in rows[i : i + size]]),
        }
        for i in range(0, count, size)
    ]


@dataclass(frozen=True)
class Run:
    """Where a run ended."""

    parameters: dict[str, Tensor]
    rates: dict[str, float]
    records: list[str]

    @classmethod
    def of(cls, model: nn.Module, tuner: hidlr.HiDLR) -> "Run":
        return cls(
            {name: parameter.detach().clone() for name, parameter in model.named_parameters()},
            tuner.rates,
            # All but the time it took.
            [
                repr((r.step, r.phase, r.groups, r.points, r.losses, r.forwards, r.factor, r.note))
                for r in tuner.history
            ],
        )


def assert_same_run(actual: Run, expected: Run) -> None:
    """Bit for bit."""
    assert actual.records == expected.records
    assert actual.rates == expected.rates
    torch.testing.assert_close(actual.parameters, expected.parameters, rtol=0, atol=0)


def by_hand(
    model: nn.Module,
    steps: Sequence[Sequence[dict[str, Tensor]]],
    *,
    loss: Callable[[nn.Module, Any], Tensor] = lambda model, batch: model(**batch)["loss"],
    scale: float = 1.0,
    max_norm: float | None = None,
    autocast: torch.dtype | None = None,
    decay: Callable[[int], float] | None = None,
    lr: float = 1e-3,
    build: Callable[..., hidlr.HiDLR] = hidlr.HiDLR,
    groups: list[dict[str, Any]] | None = None,
    differentiated_inside: bool = False,
    total: int | None = None,
) -> Run:
    """The loop as the README has it, over given micro-batches.

    Args:
        model: to train.
        steps: micro-batches of each optimizer step.
        loss: of one of them.
        scale: factor on it.
        max_norm: of the gradient.
        autocast: dtype of the forward passes.
        decay: factor on the rates by step, through a torch scheduler; None is hidlr's own.
        lr: the start.
        build: makes the tuner.
        groups: of the optimizer; None is by role.
        differentiated_inside: backward runs in a closure of `optimizer.step`.
        total: what the tuner is told of the length; None is the truth.
    """
    optimizer = torch.optim.AdamW(groups or hidlr.param_groups(model, "role"), lr=lr, weight_decay=0.0)
    scheduler = None if decay is None else torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
    tuner = build(optimizer, total_steps=total or len(steps), scheduler=scheduler)

    def of(batch: Any) -> Tensor:
        with nullcontext() if autocast is None else torch.autocast("cpu", autocast):
            return loss(model, batch) * scale

    model.train()
    for micro in steps:
        clipped = 1.0

        def backward(micro: Any = micro) -> Tensor:
            nonlocal clipped
            for batch in micro:
                loss = of(batch)
                loss.backward()
            if max_norm is not None:
                clipped = min(1.0, max_norm / (float(nn.utils.clip_grad_norm_(model.parameters(), max_norm)) + 1e-6))
            return loss

        if differentiated_inside:
            optimizer.step(backward)
        else:
            backward()
            optimizer.step()
        tuner.step([lambda batch=batch: of(batch) for batch in micro], clipped=clipped)
        if scheduler is not None:
            scheduler.step()
        optimizer.zero_grad()
    return Run.of(model, tuner)
