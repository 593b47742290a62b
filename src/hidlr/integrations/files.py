"""The tuner's part of a checkpoint."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hidlr import StateError

__all__ = ["load_state", "save_state"]


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a tuner's state, or leave the file that was there.

    Raises:
        OSError: read-only or full disk.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def load_state(path: Path) -> dict[str, Any]:
    """Inverse of `save_state`; the tensors are on the CPU.

    Raises:
        StateError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise StateError(
            f"there is no {path}: the checkpoint was written without hidlr, or was not completed; resume from another"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise StateError(f"{path} is damaged ({error}): resume from an earlier checkpoint") from error
    return state
