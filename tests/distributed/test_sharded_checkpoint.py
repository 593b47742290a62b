"""Saved by two ranks, continued by one, two or four: the run that was never stopped."""

import shutil
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

import hidlr
from hidlr.errors import StateError
from hidlr.sharded import load_sharded
from support.parallel import STEPS, WRAPS, Run, alone, batches, network
from support.processes import run_ranks
from support.traces import assert_equal

pytestmark = pytest.mark.dist
PARTS = 4
OPTIONS = {"total_steps": 40}  # the warm-up, in which the tuner keeps parameters, lasts 16 steps


def build(rank: int, ranks: int, wrap: str) -> Run:
    share = PARTS // ranks
    return Run.build(WRAPS[wrap], PARTS, list(range(rank * share, (rank + 1) * share)), **OPTIONS)


def save(rank: int, ranks: int, wrap: str, at: int, folder: str) -> bool:
    run = build(rank, ranks, wrap)
    for batch in list(batches())[:at]:
        run.step(batch)
    state = run.tuner.state_dict()
    dcp.save(
        {
            "model": get_model_state_dict(run.model),
            "optimizer": get_optimizer_state_dict(run.model, run.optimizer),
            "tuner": state,
        },
        checkpoint_id=folder,
    )
    return state["trail"] is not None


def resume(rank: int, ranks: int, wrap: str, at: int, folder: str) -> dict:
    run = build(rank, ranks, wrap)
    model = get_model_state_dict(run.model)
    # Makes the optimizer's state by a step at rate 0, which is none of training's.
    optimizer = get_optimizer_state_dict(run.model, run.optimizer)
    assert run.tuner.state_dict()["taken"] == 0
    dcp.load({"model": model, "optimizer": optimizer}, checkpoint_id=folder)
    set_model_state_dict(run.model, model)
    set_optimizer_state_dict(run.model, run.optimizer, optimizer)
    load_sharded(run.tuner, run.optimizer, folder)
    for batch in list(batches())[at:]:
        run.step(batch)
    return run.outcome()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for wrap in ("fsdp", "ddp"):
        folders[wrap] = tmp_path_factory.mktemp(wrap)
        held = run_ranks(save, 2, wrap, 5, str(folders[wrap]))
        assert held == [True, True], "the saved tuner is to hold parameters"
    return folders


@pytest.mark.covers("DDP", "resume")
@pytest.mark.covers("FSDP2", "resume")
@pytest.mark.parametrize(
    ("before", "ranks", "after"),
    [
        ("fsdp", 1, "plain"),
        ("fsdp", 2, "fsdp"),
        pytest.param("fsdp", 4, "fsdp", marks=pytest.mark.slow),
        pytest.param("fsdp", 4, "ddp", marks=pytest.mark.slow),
        ("ddp", 1, "plain"),
        ("ddp", 2, "fsdp"),
        pytest.param("ddp", 4, "fsdp", marks=pytest.mark.slow),
    ],
)
def test_the_run_goes_on_as_if_never_stopped(before, ranks, after, saved):
    whole = alone(PARTS, OPTIONS)
    found = run_ranks(resume, ranks, after, 5, str(saved[before]))
    for other in found[1:]:
        assert_equal(other, found[0])
    torch.testing.assert_close(found[0]["parameters"], whole["parameters"], rtol=1e-6, atol=1e-9)
    probed = len(found[0]["losses"])
    torch.testing.assert_close(found[0]["losses"], whole["losses"][-probed:], rtol=1e-6, atol=1e-9)
    assert probed >= 4
    for mine, its in zip(found[0]["rates"], whole["rates"][5:], strict=True):
        assert mine == pytest.approx(its, rel=1e-6)


def late(rank: int, ranks: int, folder: str) -> bool:
    """A tuner past its warm-up holds no parameters, and loads all the same."""
    run = Run.build(WRAPS["fsdp"], PARTS, [2 * rank, 2 * rank + 1], total_steps=STEPS)
    for batch in batches():
        run.step(batch)
    dcp.save({"own": run.tuner.state_dict()}, checkpoint_id=folder)
    other = Run.build(WRAPS["fsdp"], PARTS, [2 * rank, 2 * rank + 1], total_steps=STEPS)
    load_sharded(other.tuner, other.optimizer, folder, key="own")
    assert other.tuner.state_dict() == run.tuner.state_dict()  # without tensors: the values alone
    return run.tuner.state_dict()["trail"] is None


def test_after_the_warm_up(tmp_path):
    assert run_ranks(late, 2, str(tmp_path)) == [True, True]


def refused(rank: int, ranks: int, folder: str) -> None:
    run = build(rank, ranks, "ddp")
    with pytest.raises(StateError, match="no tuner under 'other'"):
        load_sharded(run.tuner, run.optimizer, folder, key="other")
    optimizer = torch.optim.SGD(hidlr.param_groups(network(), by="bias"), lr=0.1)
    with pytest.raises(StateError, match="does not fit this one"):
        load_sharded(hidlr.HiDLR(optimizer, total_steps=40), optimizer, folder)


def test_a_checkpoint_that_does_not_fit_says_so(saved):
    run_ranks(refused, 2, str(saved["fsdp"]))


def test_a_plain_process_without_torch_distributed(saved, tmp_path):
    folder = shutil.copytree(saved["fsdp"], tmp_path / "copy")
    run = Run.build(WRAPS["plain"], PARTS, list(range(PARTS)), **OPTIONS)
    load_sharded(run.tuner, run.optimizer, folder)
    state = run.tuner.state_dict()
    assert state["taken"] == 5
    shapes = [value.shape for own in state["trail"]["groups"].values() for value in own["start"]]
    assert sorted(shapes) == sorted(p.shape for p in run.model.parameters())
