import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hidlr.training import Progress


def _plain(entry: Any) -> Any:
    """The entry without times, as lists and numbers that `==` compares bit for bit, nan with nan."""
    if isinstance(entry, dict):
        return {key: _plain(value) for key, value in entry.items() if "seconds" not in str(key)}
    if isinstance(entry, torch.Tensor):
        return _plain(entry.tolist())
    if isinstance(entry, list | tuple):
        return [_plain(item) for item in entry]
    return "nan" if entry != entry else entry


@pytest.fixture
def contents() -> Callable[[Path], dict[str, Any]]:
    """All that a run folder says but for times."""

    def read(folder: Path) -> dict[str, Any]:
        state = torch.load(folder / "checkpoint.pt", weights_only=True)["session"]
        found: dict[str, Any] = {"state": _plain(state)}
        for name in ("history.jsonl", "metrics.jsonl"):
            lines = (folder / name).read_text().splitlines()
            found[name] = [_plain(json.loads(line)) for line in lines]
        for name in ("result.json", "influence.json"):
            found[name] = _plain(json.loads((folder / name).read_text()))
        return found

    return read


@pytest.fixture
def stop_at() -> Callable[[int], Callable[[Progress], None]]:
    """An `on_step` that presses Ctrl-C after so many steps."""

    def make(steps: int) -> Callable[[Progress], None]:
        def on_step(progress: Progress) -> None:
            if progress.step + 1 == steps:
                raise KeyboardInterrupt

        return on_step

    return make
