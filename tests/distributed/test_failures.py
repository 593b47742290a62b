"""One rank in trouble: all keep their rates and go on together, and none waits for it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import hidlr
from hidlr.errors import ClosureError, HidlrWarning, InputError, InputTypeError
from support.parallel import WRAPS, Run, batches, full, network
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist


class BoomError(Exception):
    pass


def boom(loss: Tensor) -> Tensor:
    raise BoomError("on this rank alone")


def no_tensor(loss: Tensor) -> Any:
    return loss.item()


SPOILS: dict[str, tuple[Callable[[Tensor], Any], type[Exception]]] = {
    "raises": (boom, BoomError),
    "no tensor": (no_tensor, InputTypeError),
}


def raising(rank: int, ranks: int, wrap: str, kind: str) -> dict:
    """At steps 0 (base), 3 and 4, the last rank's closure fails after so many calls; then training goes on."""
    run = Run.build(WRAPS[wrap], ranks, [rank], every=1)
    spoil, error = SPOILS[kind]
    culprit = ranks - 1
    for step, batch in enumerate(batches()):
        if step not in (0, 3, 4):
            run.step(batch)
            continue
        run.closures(*batch)[0]().backward()
        run.optimizer.step()
        ends = [full(p.detach()) for p in run.model.parameters()]
        rates = run.tuner.rates
        calls = [0]

        def late(loss, step=step, calls=calls):
            calls[0] += 1
            return spoil(loss) if calls[0] > step % 3 else loss  # at step 4 the base is still measured

        closures = run.closures(*batch, late if rank == culprit else lambda loss: loss)
        expected = error if rank == culprit else ClosureError
        with pytest.raises(expected, match=None if rank == culprit else f"raised on rank {culprit} of {ranks}"):
            run.tuner.step(closures)
        assert_equal([full(p.detach()) for p in run.model.parameters()], ends)
        assert run.tuner.rates == rates
        run.optimizer.zero_grad()
    assert len(run.records) >= 5
    return run.outcome()


@pytest.mark.parametrize("kind", SPOILS)
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_a_closure_that_raises_on_one_rank(wrap, kind):
    first, *others = run_ranks(raising, 2, wrap, kind)
    for other in others:
        assert_equal(other, first)


def not_finite(rank: int, ranks: int, wrap: str, value: float) -> dict:
    run = Run.build(WRAPS[wrap], ranks, [rank], schedule="constant", every=1)
    for step, batch in enumerate(batches()):
        before = run.tuner.rates
        run.step(batch, (lambda loss: loss * value) if rank == 1 and step in (0, 4) else lambda loss: loss)
        if step in (0, 4):
            assert run.records[-1].step == step
            assert "the loss is" in run.records[-1].note
            assert run.tuner.rates == before
    assert run.rates[-1] != run.rates[0]
    return run.outcome()


@pytest.mark.parametrize("value", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.slow)])
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_a_loss_that_is_not_finite_on_one_rank(wrap, value):
    first, *others = run_ranks(not_finite, 3, wrap, value)
    for other in others:
        assert_equal(other, first)


# -- ranks that are not alike -------------------------------------------------------------------


def unlike(rank: int, ranks: int, what: str) -> None:
    torch.manual_seed(rank)
    model = network()
    rate, horizon, by, group = 1e-3, 60, "layer", None
    if what == "models":
        with torch.no_grad():
            model[0].weight += 1e-3 * rank
    if what == "rates":
        rate *= 1 + rank
    if what == "horizons":
        horizon += 6 * rank
    if what == "groups":
        by = ("role", "bias", "layer")[rank]
    optimizer = torch.optim.SGD(hidlr.param_groups(model, by=by), lr=rate)
    tuner = hidlr.HiDLR(optimizer, total_steps=horizon, every=1, process_group=group)
    x, y = next(batches())
    for _ in range(2):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        tuner.step(lambda: torch.nn.functional.cross_entropy(model(x), y))
        optimizer.zero_grad()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("models", "differ in the parameters.*process_group=False"),
        ("rates", "differ in the rate of group.*rank 0 has 0.001, rank 1 has 0.002"),
        ("horizons", "differ in the rate of group.*total_steps"),
        ("groups", "differ in the groups"),
    ],
)
def test_ranks_that_were_built_differently_are_told(what, message):
    def refused(answers: str) -> None:
        raise AssertionError(answers)

    with pytest.raises(AssertionError, match=f"(?s)rank 0: .*InputError: ranks {message}.*rank 1: .*InputError: ranks"):
        run_ranks(unlike, 2, what)


def by_themselves(rank: int, ranks: int) -> dict[str, float]:
    """Each rank trains a model of its own, at its own pace."""
    torch.manual_seed(rank)
    model = torch.nn.Linear(4, 3).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    tuner = hidlr.HiDLR(optimizer, total_steps=20 + rank, process_group=False)
    for x, y in list(batches())[: 5 + rank]:
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        tuner.step(lambda x=x, y=y: torch.nn.functional.cross_entropy(model(x), y))
        optimizer.zero_grad()
    return tuner.rates


def test_ranks_that_train_models_of_their_own():
    one, other = run_ranks(by_themselves, 2)
    assert one != other


def two_pairs(rank: int, ranks: int) -> dict:
    """A group given: ranks 0 and 1 share one model, 2 and 3 another."""
    pairs = [torch.distributed.new_group([0, 1]), torch.distributed.new_group([2, 3])]
    own = pairs[rank // 2]
    model = network()
    if rank >= 2:
        with torch.no_grad():
            model[0].weight *= 0.5
    wrapped = torch.nn.parallel.DistributedDataParallel(model, process_group=own)
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="layer"), lr=1e-4)
    run = Run(wrapped, optimizer, hidlr.HiDLR(optimizer, total_steps=60, process_group=own), 2, [rank % 2])
    for batch in batches(6):
        run.step(batch)
    with pytest.raises(InputError, match="not in process_group"):
        hidlr.HiDLR(optimizer, process_group=pairs[1 - rank // 2])
    return run.outcome()


@pytest.mark.slow
def test_a_process_group_of_ones_own():
    found = run_ranks(two_pairs, 4)
    assert_equal(found[1], found[0])
    assert_equal(found[3], found[2])
    assert found[0]["rates"] != found[2]["rates"]


def three_in_a_row(rank: int, ranks: int) -> None:
    run = Run.build(WRAPS["ddp"], ranks, [rank], every=1)
    *first, last = batches(3)
    for batch in first:
        run.step(batch, lambda loss: loss * float("nan") if rank else loss)
    with pytest.warns(HidlrWarning, match="three probes in a row"):
        run.step(last, lambda loss: loss * float("nan") if rank else loss)


def test_every_rank_is_warned_of_divergence():
    run_ranks(three_in_a_row, 2)


def clipped_apart(rank: int, ranks: int) -> str:
    run = Run.build(WRAPS["ddp"], ranks, [rank], every=1)
    closures = run.closures(*next(batches()))
    closures[0]().backward()
    run.optimizer.step()
    with pytest.raises(InputError) as caught:
        run.tuner.step(closures, clipped=0.5 if rank else 0.25)
    return str(caught.value)


def test_ranks_that_were_told_of_different_clipping_hear_of_it():
    first, second = run_ranks(clipped_apart, 2)
    assert first == second
    assert "ranks differ in clipped= (give the norm over all ranks): rank 0 has 0.25, rank 1 has 0.5" in first
