"""One file that holds all a run needs to go on, replaced as a whole."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from hidlr.errors import StateError
from hidlr.training.jsonlines import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]

_VERSION = 1
_REMEDY = "restore it from a copy, or start again in a new folder"


def save_checkpoint(path: Path, session: Mapping[str, Any], offsets: Mapping[str, int]) -> None:
    """Write a checkpoint; a failure leaves the previous one in place.

    Args:
        path: the file.
        session: `Session.state_dict()`.
        offsets: bytes of each JSON Lines file that belong to the steps done.

    Raises:
        OSError: read-only or full disk.
    """
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, "session": dict(session), "offsets": dict(offsets)}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Inverse of `save_checkpoint`: the session's state and the offsets.

    Raises:
        StateError: the file is missing, damaged or of another version; the message names the remedy.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads a damaged tensor without complaint
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a checksum does not match")
        # On the CPU: random states must stay there, and modules copy their own parts.
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["version"] != _VERSION:
            raise StateError(
                f"{path} is a checkpoint of version {state['version']}, this hidlr reads {_VERSION}: {_REMEDY}"
            )
        return state["session"], {name: int(offset) for name, offset in state["offsets"].items()}
    except FileNotFoundError as error:
        raise StateError(f"there is no {path}, so nothing to resume: start again in a new folder") from error
    except (
        # What torch.load raises depends on where the damage is.
        zipfile.BadZipFile,
        RuntimeError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        ImportError,
        pickle.UnpicklingError,
        UnicodeError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StateError(f"{path} is damaged ({reason[:120]}): {_REMEDY}") from error
