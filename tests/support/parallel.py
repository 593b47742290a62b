"""One small run on any number of ranks, plain, DDP or FSDP2: the same global batches, the same start."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import hidlr
from hidlr.history import StepRecord

STEPS = 14
BATCH = 16
LAST = 10  # rows of the last batch: over 4 ranks 3, 3, 2, 2

Wrap = Callable[[nn.Module], nn.Module]


def network(hidden: int = 9) -> nn.Sequential:
    """Seven tensors, some too small to give each of four ranks a row."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Linear(4, hidden),
            nn.Tanh(),
            nn.Linear(hidden, 6),
            nn.LayerNorm(6),
            nn.Tanh(),
            nn.Linear(6, 3, bias=False),
        ).double()


def batches(steps: int = STEPS) -> Iterator[tuple[Tensor, Tensor]]:
    """The global batches, the last one smaller."""
    generator = torch.Generator().manual_seed(11)
    for step in range(steps):
        rows = LAST if step == steps - 1 else BATCH
        x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
        yield x, (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 0.5).long()


def plain(model: nn.Module) -> nn.Module:
    return model


def ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def fsdp(model: nn.Sequential, **options: Any) -> nn.Module:
    for layer in model:
        if sum(p.numel() for p in layer.parameters()) > 20:
            fully_shard(layer, **options)
    return fully_shard(model, **options)


WRAPS: dict[str, Wrap] = {"plain": plain, "ddp": ddp, "fsdp": fsdp}
OPTIMIZERS: dict[str, Callable[[list[dict]], torch.optim.Optimizer]] = {
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-4, weight_decay=0.1),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=1e-3, momentum=0.9),
}


@dataclass
class Run:
    """A model, its optimizer and tuner, and what became of them.

    Attributes:
        parts: into how many the global batch is cut.
        own: those that this process computes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    tuner: hidlr.HiDLR | None
    parts: int
    own: list[int]
    records: list[StepRecord] = field(default_factory=list)
    rates: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def build(
        cls,
        wrap: Wrap,
        parts: int,
        own: list[int],
        *,
        optimizer: str = "adamw",
        tuned: bool = True,
        hidden: int = 9,
        **options: Any,
    ) -> "Run":
        model = wrap(network(hidden))
        inner = model.module if isinstance(model, DistributedDataParallel) else model
        made = OPTIMIZERS[optimizer](hidlr.param_groups(inner, by="layer"))
        tuner = hidlr.HiDLR(made, **{"total_steps": 60, "overhead": 1.0, **options}) if tuned else None
        return cls(model, made, tuner, parts, own)

    def closures(self, x: Tensor, y: Tensor, spoil: Callable[[Tensor], Tensor] = lambda loss: loss) -> list:
        """The loss of each own part, scaled so that all processes' add up to the mean over parts."""
        pieces = list(zip(x.tensor_split(self.parts), y.tensor_split(self.parts), strict=True))
        return [
            lambda a=pieces[i][0], b=pieces[i][1]: spoil(F.cross_entropy(self.model(a).double(), b)) / len(self.own)
            for i in self.own
        ]

    def step(self, batch: tuple[Tensor, Tensor], spoil: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        for closure in self.closures(*batch):
            closure().backward()
        self.optimizer.step()
        if self.tuner is not None:
            record = self.tuner.step(self.closures(*batch, spoil))
            self.records += [record] if record else []
            self.rates.append(dict(self.tuner.rates))
        self.optimizer.zero_grad()

    def parameters(self) -> list[Tensor]:
        """Full and plain, wherever they lie."""
        return [full(p.detach()) for p in self.model.parameters()]

    def outcome(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters(),
            "rates": self.rates,
            "points": [record.points for record in self.records],
            "losses": [record.losses for record in self.records],
            "slopes": [[group.slope for group in record.groups] for record in self.records],
        }


def full(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).clone()


def train(rank: int, ranks: int, wrap: str, options: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    """The whole run on one of several ranks, each with its part of every batch."""
    run = Run.build(WRAPS[wrap], ranks, [rank], **options)
    for batch in batches(steps):
        run.step(batch)
    return run.outcome()


def alone(parts: int, options: dict[str, Any], steps: int = STEPS) -> dict[str, Any]:
    """The same in this process, one closure for each part of the batch."""
    run = Run.build(plain, parts, list(range(parts)), **options)
    for batch in batches(steps):
        run.step(batch)
    return run.outcome()
