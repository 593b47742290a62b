"""The conformance table: a base optimizer joins by adding one row."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytorch_optimizer
import torch
from torch.optim import Optimizer

from support.quantised import AdamW8bit


@dataclass(frozen=True)
class Row:
    """One base optimizer at one setting.

    Attributes:
        name: of the row.
        kind: the class.
        rate: one at which the tiny models train.
        options: keyword arguments besides ``lr``.
        matrices_only: takes 2-D parameters only.
        edits_gradients: its step writes to ``.grad``, which the tuner sees at the first probe.
        still: its first step moves nothing.
    """

    name: str
    kind: Callable[..., Optimizer]
    rate: float
    options: dict[str, Any] = field(default_factory=dict)
    matrices_only: bool = False
    edits_gradients: bool = False
    still: bool = False

    def build(self, groups: list[dict], **variant: Any) -> Optimizer:
        return self.kind(groups, lr=self.rate, **self.options, **variant)

    def groups(self, task: Any) -> list[dict]:
        return task.param_groups(self.rate, matrices_only=self.matrices_only)

    @property
    def variants(self) -> list[dict[str, bool]]:
        """The implementations that it has: one tensor at a time, foreach, fused."""
        known = inspect.signature(self.kind).parameters
        found: list[dict[str, bool]] = []
        if "foreach" in known:
            found += [{"foreach": False}, {"foreach": True}]
        if "fused" in known:
            found.append({"fused": True})
        return found or [{}]


optim = torch.optim
other = pytorch_optimizer
ROWS = [
    Row("sgd", optim.SGD, 0.1),
    Row("sgd-decay", optim.SGD, 0.1, {"weight_decay": 0.1}),
    Row("momentum", optim.SGD, 0.05, {"momentum": 0.9}),
    Row("nesterov", optim.SGD, 0.05, {"momentum": 0.9, "nesterov": True}),
    Row("adam", optim.Adam, 0.01),
    Row("amsgrad", optim.Adam, 0.01, {"amsgrad": True, "weight_decay": 0.1}),
    Row("adamw", optim.AdamW, 0.01, {"weight_decay": 0.3}),
    Row("adagrad", optim.Adagrad, 0.05, {"lr_decay": 0.01}),
    Row("rmsprop", optim.RMSprop, 0.01),
    Row("rmsprop-momentum", optim.RMSprop, 0.01, {"momentum": 0.9, "centered": True}),
    Row("adamax", optim.Adamax, 0.01),
    Row("nadam", optim.NAdam, 0.01, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    Row("radam", optim.RAdam, 0.01, {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    Row("adadelta", optim.Adadelta, 1.0),
    Row("lion", pytorch_optimizer.Lion, 0.003, {"weight_decay": 0.3}),
    Row("muon", optim.Muon, 0.02, matrices_only=True),
    Row("lamb", other.Lamb, 0.01),
    Row("lars", other.LARS, 0.1, {"momentum": 0.9}, edits_gradients=True),
    Row("soap", other.SOAP, 0.003, {"weight_decay": 0.0}, still=True),
    Row("adabelief", other.AdaBelief, 0.01, {"weight_decay": 0.1}),
    Row("adan", other.Adan, 0.01, {"weight_decay": 0.1, "weight_decouple": True}),
    Row("adamp", other.AdamP, 0.01),
    Row("adopt", other.ADOPT, 0.01, still=True),
    Row("ademamix", other.AdEMAMix, 0.01, {"weight_decay": 0.1}, edits_gradients=True),
    Row("came", other.CAME, 0.01),
    Row("mars", other.MARS, 0.01),
    Row("novograd", other.NovoGrad, 0.01, edits_gradients=True),
    Row("shampoo", other.Shampoo, 0.01, edits_gradients=True),
    Row("stableadamw", other.StableAdamW, 0.01),
    Row("tiger", other.Tiger, 0.003),
    Row("yogi", other.Yogi, 0.01),
    Row("adamw-8bit", AdamW8bit, 0.01),
]

EACH_ROW = pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
EACH_VARIANT = pytest.mark.parametrize(
    ("row", "variant"),
    [
        pytest.param(row, variant, id=row.name + "".join(f"-{k}={v}" for k, v in variant.items()))
        for row in ROWS
        for variant in row.variants
    ],
)
