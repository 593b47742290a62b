"""A tuner's state out of a checkpoint of `torch.distributed.checkpoint`, on as many ranks as there are now."""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.optim.optimizer import Optimizer

from hidlr.compatibility import unwrapped
from hidlr.errors import StateError
from hidlr.tuner import HiDLR

__all__ = ["load_sharded"]


def load_sharded(tuner: HiDLR, optimizer: Optimizer, checkpoint: str | Path | Any, key: str = "tuner") -> None:
    """Load what ``dcp.save({"tuner": tuner.state_dict(), ...}, checkpoint_id=checkpoint)`` wrote, on all ranks.

    ``dcp.load`` wants a state of the saved shape to fill, and a new tuner cannot know whether the saved one held
    the parameters at its last probe (it does in the first two fifths of a run): this looks first. Load the model's
    and the optimizer's state before.

    Args:
        tuner: the one to continue with; parameters may be sharded otherwise than then, or not at all.
        optimizer: its optimizer.
        checkpoint: the folder, or a ``StorageReader``.
        key: under which the state was saved.

    Raises:
        StateError: the checkpoint holds no tuner under that key, or one that does not fit.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = FileSystemReader(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint
    alone = not (dist.is_available() and dist.is_initialized())
    saved = reader.read_metadata().state_dict_metadata
    if not any(name.startswith(f"{key}.") for name in saved):
        raise StateError(f"{checkpoint} holds no tuner under {key!r}: save tuner.state_dict() there")

    def fill(part: dict[str, Any]) -> dict[str, Any]:
        whole = {key: part}
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # as it may be
                load(whole, storage_reader=reader, no_dist=alone)
        except CheckpointException as error:
            reasons = "; ".join(str(reason[0]) for reason in error.failures.values())
            raise StateError(f"the tuner in {checkpoint} does not fit this one: {reasons[:300]}") from error
        return whole[key]

    state = {name: value for name, value in tuner.state_dict().items() if name != "trail"}
    names = list(tuner.rates)
    if f"{key}.trail.step" not in saved:
        tuner.load_state_dict(fill({**state, "trail": None}))
        return
    positions = {name: {"positions": [0]} for name in names}
    state = fill({**state, "trail": {"step": 0, "groups": positions}})
    parameters = {
        name: [group["params"][position] for position in state["trail"]["groups"][name]["positions"]]
        for name, group in zip(names, unwrapped(optimizer).param_groups, strict=True)
    }
    start = {name: {"start": [torch.empty_like(p.detach()) for p in own]} for name, own in parameters.items() if own}
    found = fill({"trail": {"groups": start}}) if start else {"trail": {"groups": {}}}
    for name in names:
        own = found["trail"]["groups"].get(name, {"start": []})
        state["trail"]["groups"][name]["start"] = own["start"]
    tuner.load_state_dict(state)
