"""The tables of base optimizers on docs/optimizers.md, from the rows that the conformance tests run."""

import inspect
import sys
from pathlib import Path

import pytorch_optimizer
import torch

from hidlr.compatibility import REFUSED

__all__ = ["TABLES"]

TESTS = Path(__file__).parent.parent / "tests"
_EDITS = "writes to the gradients in its step: a copy of them is kept on due steps"
_MATRICES = "2-D parameters only"


def supported() -> str:
    """Each optimizer with a row of tests, and at which settings it was tested."""
    if str(TESTS) not in sys.path:
        sys.path.insert(0, str(TESTS))
    from support.optimizers import ROWS

    lines = ["| optimizer | from | tested with | note |", "|---|---|---|---|"]
    for row in ROWS:
        settings = ", ".join(f"{name}={value}" for name, value in row.options.items()) or "its defaults"
        variants = ", ".join(name for variant in row.variants for name, value in variant.items() if value)
        notes = [note for note, holds in ((_EDITS, row.edits_gradients), (_MATRICES, row.matrices_only)) if holds]
        package = inspect.getmodule(row.kind).__name__.split(".")[0]  # type: ignore[union-attr]
        source = {"support": "a stand-in with state in 8 bits"}.get(package, package)
        cells = [f"{settings}{f' ({variants})' if variants else ''}", "; ".join(notes)]
        lines.append(f"| {row.kind.__name__} | {source} | {' | '.join(cells)} |")
    return "\n".join(lines)


def refused() -> str:
    """Each optimizer that HiDLR refuses by name, with its words."""
    names = {name.lower(): name for package in (torch.optim, pytorch_optimizer) for name in dir(package)}
    lines = ["| optimizer | why |", "|---|---|"]
    lines += [f"| {names.get(key, key)} | {reason} |" for key, reason in sorted(REFUSED.items())]
    return "\n".join(lines)


TABLES = {"optimizers": supported, "optimizers_refused": refused}
