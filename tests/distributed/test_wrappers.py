"""What a probe leaves behind in DDP, FSDP2 and on meshes: nothing."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

import hidlr
from hidlr.engines import Fixed
from hidlr.errors import InputError, UnsupportedOptimizerError
from support.parallel import WRAPS, Run, alone, batches, fsdp, network, train
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist


# -- no trace -----------------------------------------------------------------------------------


def normalised() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 3)).double()


def observed(rank: int, ranks: int, wrap: str, tuned: bool) -> list[Any]:
    """Parameters and buffers after each step, on this rank; rates are measured and never changed."""
    plain = network() if "bfloat16" in wrap else normalised()  # a BatchNorm runs in one precision
    model = DistributedDataParallel(plain) if wrap == "ddp" else fsdp(plain, **FSDP[wrap])
    inner = model.module if wrap == "ddp" else model
    optimizer = torch.optim.AdamW(hidlr.param_groups(inner, by="layer"), lr=0.01)
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=Fixed(every=2)) if tuned else None
    run = Run(model, optimizer, tuner, ranks, [rank])
    torch.manual_seed(rank)
    seen: list[Any] = []
    for batch in batches(6):
        run.step(batch)
        seen.append([*run.parameters(), *(b.clone() for b in model.buffers()), torch.get_rng_state()])
        if tuned:
            assert run.records
            assert len(run.records[-1].points) >= 1
    return seen


FSDP: dict[str, dict[str, Any]] = {
    "fsdp": {},
    "fsdp, gathered until backward": {"reshard_after_forward": False},
    "fsdp, bfloat16": {"mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16)},
}


@pytest.mark.parametrize("wrap", ["ddp", *FSDP])
def test_measuring_alone_changes_nothing(wrap):
    assert_equal(run_ranks(observed, 2, wrap, True), run_ranks(observed, 2, wrap, False))


# -- meshes -------------------------------------------------------------------------------------


def on_mesh(rank: int, ranks: int, kind: str) -> dict:
    """Two-dimensional meshes of four ranks; how the batch is cut is the layout's business."""
    model = network(8)
    if kind == "hsdp":
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
        model, parts, own = fsdp(model, mesh=mesh), 4, rank
    else:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
        parallelize_module(model, mesh["tensor"], plan)
        fully_shard(model, mesh=mesh["data"])
        parts, own = 2, mesh.get_local_rank("data")
    optimizer = torch.optim.AdamW(
        hidlr.param_groups(model, by="layer"), lr=1e-4, weight_decay=0.1, foreach=kind == "hsdp"
    )
    run = Run(model, optimizer, hidlr.HiDLR(optimizer, total_steps=60, overhead=1.0), parts, [own])
    for batch in batches():
        run.step(batch)
    return run.outcome()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "parts"), [("hsdp", 4), ("tensor parallel", 2)])
def test_meshes_of_two_dimensions(kind, parts):
    first, *others = run_ranks(on_mesh, 4, kind)
    for other in others:
        assert_equal(other, first)
    one = alone(parts, {"hidden": 8})
    torch.testing.assert_close(first["parameters"], one["parameters"], rtol=1e-6, atol=1e-9)
    for mine, its in zip(first["rates"], one["rates"], strict=True):
        assert mine == pytest.approx(its, rel=1e-6)


def elsewhere(rank: int, ranks: int) -> None:
    """Sharded over pairs, while all four would decide."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("pipe", "shard"))
    model = fsdp(network(), mesh=mesh["shard"])
    optimizer = torch.optim.AdamW(hidlr.param_groups(model, by="layer"), lr=1e-4)
    with pytest.raises(InputError, match=r"(?s)sharded over 2 ranks, but 4 decide.*process_group=mesh.get_group"):
        hidlr.HiDLR(optimizer)
    with pytest.raises(InputError, match="sharded over 2 ranks, but 1 decide"):
        hidlr.HiDLR(optimizer, process_group=False)
    pair = mesh["shard"].get_group()
    run = Run(model, optimizer, hidlr.HiDLR(optimizer, total_steps=60, process_group=pair), 2, [rank % 2])
    for batch in batches(4):
        run.step(batch)


@pytest.mark.slow
def test_a_mesh_of_other_ranks_is_refused_with_the_remedy():
    run_ranks(elsewhere, 4)


def test_fsdp1_is_refused():
    # It wants an accelerator, so a parameter marked as it marks its own stands in for one.
    parameter = nn.Parameter(torch.ones(3))
    parameter._fsdp_flattened = True
    with pytest.raises(UnsupportedOptimizerError, match=r"FSDP1.*fully_shard"):
        hidlr.HiDLR(torch.optim.SGD([parameter], lr=0.1))


# -- accumulation -------------------------------------------------------------------------------


def accumulated(rank: int, ranks: int, wrap: str) -> dict:
    """Two micro-batches a rank; gradients meet at the second alone."""
    model = WRAPS[wrap](network())
    inner = model.module if wrap == "ddp" else model
    optimizer = torch.optim.AdamW(hidlr.param_groups(inner, by="layer"), lr=1e-4, weight_decay=0.1)
    run = Run(model, optimizer, hidlr.HiDLR(optimizer, total_steps=60, overhead=1.0), 4, [2 * rank, 2 * rank + 1])
    for batch in batches():
        first, second = run.closures(*batch)
        if wrap == "ddp":
            with model.no_sync():
                first().backward()
        else:
            model.set_requires_gradient_sync(False)
            first().backward()
            model.set_requires_gradient_sync(True)
        second().backward()
        optimizer.step()
        run.tuner.step([first, second])
        run.rates.append(run.tuner.rates)
        optimizer.zero_grad()
    return run.outcome()


@pytest.mark.covers("DDP", "accumulate")
@pytest.mark.covers("FSDP2", "accumulate")
@pytest.mark.parametrize("wrap", ["ddp", "fsdp"])
def test_accumulation_without_exchange_but_at_the_last(wrap):
    one, other = run_ranks(accumulated, 2, wrap)
    assert_equal(one, other)
    torch.testing.assert_close(one["parameters"], alone(4, {})["parameters"], rtol=1e-6, atol=1e-9)


def test_one_rank_is_one_process():
    assert_equal(run_ranks(train, 1, "ddp", {}), [alone(1, {})])
