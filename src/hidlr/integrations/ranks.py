"""Whether the tuner's core can decide for several processes."""

import inspect

from hidlr import HiDLR, InputError

__all__ = ["check_ranks"]


def check_ranks(processes: int) -> None:
    """Refuse several processes where each would choose rates of its own.

    Raises:
        InputError: there are several, and this version's `HiDLR` knows of no process group.
    """
    if processes > 1 and "process_group" not in inspect.signature(HiDLR).parameters:
        raise InputError(
            f"{processes} processes would each choose rates of their own: this version of hidlr is for one process"
        )
