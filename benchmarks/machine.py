"""What a result was measured on, for the record."""

import os
import platform
import time
from typing import Any

import torch

import hidlr

__all__ = ["describe"]


def describe() -> dict[str, Any]:
    """Versions, hardware and date, without anything that names a particular host."""
    return {
        "hidlr": hidlr.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }
