"""What a loop does besides, on two ranks under DDP and FSDP2: always as one process with the whole batch does it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import hidlr
from hidlr.engines import Fixed
from hidlr.errors import InputError
from support.parallel import STEPS, WRAPS, Run, batches, full, network
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist
WRAPPED = pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
NORM = 0.05  # below every gradient's
FEW = hidlr.Budget(0.5, after=4)


def built(wrap: str, own: list[int], model: nn.Module, **options: Any) -> Run:
    wrapped = WRAPS[wrap](model)
    inner = wrapped.module if isinstance(wrapped, DistributedDataParallel) else wrapped
    optimizer = torch.optim.AdamW(hidlr.param_groups(inner, by="layer"), lr=1e-4, weight_decay=0.1)
    if "scheduler" in options:
        options["scheduler"] = options["scheduler"](optimizer)
    tuner = hidlr.HiDLR(optimizer, **{"total_steps": 60, "overhead": 1.0, **options})
    return Run(wrapped, optimizer, tuner, 2, own)


def assert_as_alone(loop: Callable[..., dict[str, Any]], wrap: str, *args: Any) -> dict[str, Any]:
    """``loop(wrap, own parts of the batch, *args)``: on two ranks, each with its part, and here with both."""
    one = loop("plain", [0, 1], *args)
    found, other = run_ranks(on_a_rank, 2, loop, wrap, *args)
    assert_equal(other, found)
    assert len(found["losses"]) >= 6
    torch.testing.assert_close(found["parameters"], one["parameters"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found["losses"], one["losses"], rtol=1e-6, atol=1e-9)
    for mine, its in zip(found["rates"], one["rates"], strict=True):
        assert mine == pytest.approx(its, rel=1e-6)
    return found


def on_a_rank(rank: int, ranks: int, loop: Callable[..., dict[str, Any]], wrap: str, *args: Any) -> dict[str, Any]:
    return loop(wrap, [rank], *args)


# -- clipping -----------------------------------------------------------------------------------


def clipping(wrap: str, own: list[int], told: bool) -> dict[str, Any]:
    run = built(wrap, own, network())
    for batch in batches():
        closures = run.closures(*batch)
        for closure in closures:
            closure().backward()
        norm = full(nn.utils.clip_grad_norm_(run.model.parameters(), NORM)).item()  # of a DTensor, not this rank's
        assert norm > NORM
        run.optimizer.step()
        record = run.tuner.step(closures, clipped=NORM / (norm + 1e-6) if told else 1.0)
        run.records += [record] if record else []
        run.rates.append(run.tuner.rates)
        run.optimizer.zero_grad()
    return run.outcome()


@pytest.mark.covers("DDP", "clip")
@pytest.mark.covers("FSDP2", "clip")
@pytest.mark.parametrize("told", [True, False])
@WRAPPED
def test_clipping_told_and_noticed(wrap, told):
    assert_as_alone(clipping, wrap, told)


# -- bfloat16 autocast --------------------------------------------------------------------------


def autocasting(wrap: str, own: list[int]) -> dict[str, Any]:
    run = built(wrap, own, network().float())
    seen = set()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.model(x)
        seen.add(logits.dtype)
        return F.cross_entropy(logits.float(), y) / len(own)

    for x, y in batches():
        pieces = list(zip(x.float().tensor_split(2), y.tensor_split(2), strict=True))
        closures = [partial(loss, *pieces[i]) for i in own]
        for closure in closures:
            closure().backward()
        run.optimizer.step()
        record = run.tuner.step(closures)
        run.records += [record] if record else []
        run.rates.append(run.tuner.rates)
        run.optimizer.zero_grad()
    assert seen == {torch.bfloat16}
    return run.outcome()


@pytest.mark.covers("DDP", "AMP")
@pytest.mark.covers("FSDP2", "AMP")
@WRAPPED
def test_bfloat16_autocast(wrap):
    assert_as_alone(autocasting, wrap)


# -- schedule -----------------------------------------------------------------------------------


def scheduling(wrap: str, own: list[int]) -> dict[str, Any]:
    made = []

    def cosine(optimizer: torch.optim.Optimizer) -> Any:
        made.append(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS))
        return made[0]

    run = built(wrap, own, network(), scheduler=cosine)
    for batch in batches():
        run.step(batch)
        made[0].step()
    assert max(run.tuner.rates.values()) < 1e-2 * max(run.rates[-1].values())  # the cosine has ended
    return run.outcome()


@pytest.mark.covers("DDP", "schedule")
@pytest.mark.covers("FSDP2", "schedule")
@WRAPPED
def test_a_torch_scheduler(wrap):
    assert_as_alone(scheduling, wrap)


# -- freezing -----------------------------------------------------------------------------------


def frozen_before(wrap: str, own: list[int]) -> dict[str, Any]:
    model = network()
    model[0].requires_grad_(False)
    start = model[0].weight.clone()
    run = built(wrap, own, model)
    for batch in batches():
        run.step(batch)
    assert_equal(run.parameters()[0], start)
    return run.outcome()


@pytest.mark.covers("DDP", "freeze")
@pytest.mark.covers("FSDP2", "freeze")
@WRAPPED
def test_parameters_frozen_before_wrapping_stay(wrap):
    assert_as_alone(frozen_before, wrap)


def freezing(wrap: str, own: list[int]) -> dict[str, Any]:
    run = built(wrap, own, network(), engine=Fixed(every=1), freeze=FEW)
    frozen: dict[str, Tensor] = {}
    for batch in batches():
        run.step(batch)
        now = {n: full(p.detach()) for n, p in run.model.named_parameters() if not p.requires_grad}
        frozen = frozen or now
        assert_equal(now, frozen)
    assert 0 < len(frozen) < 7
    return {**run.outcome(), "frozen": sorted(frozen)}


@pytest.mark.covers("FSDP2", "freeze")
def test_freezing_on_the_way():
    one = freezing("plain", [0, 1])
    assert assert_as_alone(freezing, "fsdp")["frozen"] == one["frozen"]


def refused(rank: int, ranks: int) -> None:
    run = built("ddp", [rank], network(), engine=Fixed(every=1), freeze=FEW)
    first, *_, last = batches(5)
    for _ in range(3):
        run.step(first)
    with pytest.raises(InputError, match=r"(?s)DistributedDataParallel.*selection.apply\(model\), then wrap it"):
        run.step(last)
    assert all(parameter.requires_grad for parameter in run.model.parameters())


@pytest.mark.refuses("DDP", "freezing on the way")
def test_freezing_on_the_way_under_ddp_is_refused_with_the_remedy():
    run_ranks(refused, 2)
