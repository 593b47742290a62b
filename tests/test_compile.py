"""Compiled models and optimizers, recomputed activations, functional calls: as eager, and compiled once."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import hidlr
from hidlr.history import StepRecord
from support.traces import assert_equal

STEPS = 14
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")  # by torch itself


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 3)
    ).to(dtype)


def batches(dtype: torch.dtype = torch.float64) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    for _ in range(STEPS):
        x = torch.randn(24, 6, generator=generator, dtype=dtype)
        yield x, (x[:, 0] > 0).long() + (x[:, 1] * x[:, 2] > 0).long()


def train(
    forward: Callable[[nn.Module], Callable[[Tensor], Tensor]],
    *,
    step: Callable[[Callable[[], None]], Callable[[], None]] = lambda step: step,
    rate: float | Tensor = 1e-3,
    at: Callable[[int], None] = lambda step: None,
    dtype: torch.dtype = torch.float64,
) -> tuple[list[StepRecord], list[Tensor]]:
    model = network(dtype)
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="role"), lr=rate)
    tuner = hidlr.HiDLR(optimizer, total_steps=60, overhead=1.0)
    run, advance = forward(model), step(optimizer.step)
    for number, (x, y) in enumerate(batches(dtype)):
        F.cross_entropy(run(x), y).backward()
        advance()
        tuner.step(lambda x=x, y=y: F.cross_entropy(run(x), y))
        optimizer.zero_grad()
        at(number)
    return list(tuner.history), [p.detach().clone() for p in model.parameters()]


def assert_alike(found: tuple[list[StepRecord], list[Tensor]], eager: tuple[list[StepRecord], list[Tensor]]) -> None:
    assert [record.step for record in found[0]] == [record.step for record in eager[0]]
    assert len(found[0]) >= 6
    for mine, its in zip(found[0], eager[0], strict=True):
        assert mine.rates == pytest.approx(its.rates, rel=1e-5)
    torch.testing.assert_close(found[1], eager[1], rtol=1e-5, atol=1e-6)


def compilations() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def test_compiling_in_place_and_a_compiled_function():
    def in_place(model):
        model.compile(backend="eager")
        return model

    def function(model):
        return torch.compile(lambda x: model(x), backend="eager")

    eager = train(lambda model: model)
    for forward in (in_place, function):
        counts: list[int] = []
        assert_alike(train(forward, at=lambda step: counts.append(compilations())), eager)  # noqa: B023
        assert counts[-1] == counts[0]


BACKENDS = ["eager", "aot_eager", pytest.param("inductor", marks=[pytest.mark.timeout(280), pytest.mark.slow])]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_model_is_compiled_no_more_after_the_first_probe(backend):
    counts: list[int] = []
    found = train(lambda model: torch.compile(model, backend=backend), at=lambda step: counts.append(compilations()))
    assert counts[0] > 0
    assert counts[1:] == counts[:1] * (STEPS - 1)
    assert_alike(found, train(lambda model: model))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_optimizer_step(backend):
    # With a rate in a tensor, the graph does not depend on its value; torch asks for that.
    counts: list[int] = []
    found = train(
        lambda model: model,
        step=lambda step: torch.compile(step, backend=backend),
        rate=torch.tensor(1e-3, dtype=torch.float64),
        at=lambda step: counts.append(compilations()),
    )
    assert counts[-1] == counts[2] > 0  # Adam's first two steps differ: its state is made in the first
    assert_alike(found, train(lambda model: model))


def test_recomputed_activations():
    def forward(model):
        return lambda x: model[3:](checkpoint(model[:3], x, use_reentrant=False))

    assert_equal([r.losses for r in train(forward)[0]], [r.losses for r in train(lambda model: model)[0]])
    assert_alike(train(forward), train(lambda model: model))


def test_recomputed_activations_with_dropout_and_the_old_variant():
    """The reentrant variant under no_grad is a plain call, and its random states are set back like all others."""

    def forward(model):
        def run(x):
            hidden = checkpoint(nn.Sequential(model[:3], nn.Dropout(0.3)), x.requires_grad_(), use_reentrant=True)
            return model[3:](hidden)

        return run

    records, values = train(forward)
    assert len(records) >= 6
    assert all(torch.isfinite(value).all() for value in values)


def test_a_functional_call():
    def forward(model):
        def run(x):
            return functional_call(model, dict(model.named_parameters()), (x,))

        return run

    assert_equal(train(forward)[1], train(lambda model: model)[1])
