"""Tiny models with a smooth loss of one fixed batch, cut into groups."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


@dataclass
class Task:
    """A model, the loss of its batch (forward only), and its groups by name."""

    model: nn.Module
    closure: Callable[[], Tensor]
    groups: dict[str, list[nn.Parameter]]
    halves: list[Callable[[], Tensor]] = field(default_factory=list)

    def param_groups(self, rate: float, *, matrices_only: bool = False) -> list[dict]:
        kept = {
            name: [p for p in parameters if p.ndim == 2 or not matrices_only]
            for name, parameters in self.groups.items()
        }
        return [{"params": ps, "lr": rate, "name": name} for name, ps in kept.items() if ps]

    def backward(self) -> Tensor:
        self.model.zero_grad()
        loss = self.closure()
        loss.backward()
        return loss.detach()


def mlp(dtype: torch.dtype = torch.float64) -> Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(4, 6, dtype=dtype), nn.Tanh(), nn.Linear(6, 5, dtype=dtype), nn.Tanh(),
            nn.Linear(5, 3, dtype=dtype),
        )  # fmt: skip
        x, y = torch.randn(12, 4, dtype=dtype), torch.randint(3, (12,))
    weights = [p for name, p in model.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    return _task(model, x, y, {"first": weights[:1], "rest": weights[1:], "bias": biases})


class Attention(nn.Module):
    """One pre-norm block over an embedding, a character GPT in small."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        width, kind = 8, {"dtype": dtype}
        self.embedding = nn.Embedding(7, width, **kind)
        self.norms = nn.ModuleList(nn.LayerNorm(width, **kind) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, **kind)
        self.out = nn.Linear(width, width, **kind)
        self.up, self.down = nn.Linear(width, 12, **kind), nn.Linear(12, width, **kind)
        self.head = nn.Linear(width, 7, **kind)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens)
        q, k, v = self.qkv(self.norms[0](h)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        # The fused kernels have no double backward.
        with sdpa_kernel(SDPBackend.MATH):
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        h = h + self.down(F.gelu(self.up(self.norms[1](h))))
        return self.head(h).flatten(0, 1)


def transformer(dtype: torch.dtype = torch.float64) -> Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Attention(dtype)
        x, y = torch.randint(7, (4, 5)), torch.randint(7, (4, 5))
    groups = {
        "embedding": [model.embedding.weight],
        "attention": [*model.qkv.parameters(), *model.out.parameters()],
        "mlp": [*model.up.parameters(), *model.down.parameters()],
        "norm": list(model.norms.parameters()),
        "head": list(model.head.parameters()),
    }
    task = _task(model, x, y.flatten(), groups)
    task.halves = [
        lambda i=i: F.cross_entropy(model(x[2 * i : 2 * i + 2]), y[2 * i : 2 * i + 2].flatten()) / 2 for i in (0, 1)
    ]
    return task


def convnet(dtype: torch.dtype = torch.float64) -> Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3, dtype=dtype), nn.GroupNorm(1, 3, dtype=dtype), nn.SiLU(),
            nn.Conv2d(3, 4, 3, stride=2, dtype=dtype), nn.SiLU(), nn.Flatten(), nn.Linear(16, 3, dtype=dtype),
        )  # fmt: skip
        x, y = torch.randn(6, 1, 7, 7, dtype=dtype), torch.randint(3, (6,))
    convolutions = [*model[0].parameters(), *model[3].parameters()]
    groups = {"conv": convolutions, "norm": list(model[1].parameters()), "head": list(model[6].parameters())}
    return _task(model, x, y, groups)


def _task(model: nn.Module, x: Tensor, y: Tensor, groups: dict[str, list[nn.Parameter]]) -> Task:
    half = len(x) // 2
    return Task(
        model,
        lambda: F.cross_entropy(model(x), y),
        groups,
        [lambda: F.cross_entropy(model(x[:half]), y[:half]) / 2,
         lambda: F.cross_entropy(model(x[half:]), y[half:]) / 2],
    )  # fmt: skip


TASKS = {"mlp": mlp, "transformer": transformer, "convnet": convnet}


class Noisy(nn.Module):
    """Everything that leaves a trace: batch statistics, random masks, gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(5, 8), nn.BatchNorm1d(8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.first(x)))))


def trained(
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
) -> tuple[Noisy, torch.optim.Optimizer, Callable[[], Tensor]]:
    """A noisy model after three steps, its optimizer, and the loss of its batch."""
    model = Noisy()
    optimizer = optimizer_of(model)
    x, y = torch.randn(32, 5), torch.randint(2, (32,))

    def loss() -> Tensor:
        return F.cross_entropy(model(x), y)

    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return model, optimizer, loss
