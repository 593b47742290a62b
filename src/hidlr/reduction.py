"""The ranks that decide together: their losses, slopes and failures become one, the same on each."""

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor

from hidlr.errors import ClosureError, InputError
from hidlr.shards import checksum, mesh_size, replicas

__all__ = ["ALONE", "Group", "Ranks"]

Group = Any | Literal[False] | None
"""A ``torch.distributed.ProcessGroup``; None for all ranks there are; False for this process alone."""


class Ranks:
    """What is measured on several ranks, made one; without `torch.distributed` all of it is the identity.

    Every rank gathers the few numbers of all and then does the same arithmetic, so that decisions are the same
    to the last bit whatever the backend does. One exchange for the slopes of a step, one for each round of
    measured points.

    Args:
        group: who takes part.
    """

    def __init__(self, group: Group = None) -> None:
        self._group = group

    @property
    def size(self) -> int:
        """How many there are; asked anew, since a process group may be made after the tuner.

        Raises:
            InputError: this process is not in the group.
        """
        if self._group is False or not dist.is_available() or not dist.is_initialized():
            return 1
        size = dist.get_world_size(self._group)
        if size < 1:
            raise InputError("this rank is not in process_group: give it one of its own, or build no HiDLR on it")
        return size

    def check(self, parameters: Iterable[Tensor]) -> None:
        """See that these are the ranks over which parameters are sharded.

        Those on a part of the mesh that others span (tensor parallelism leaves norms out) are taken to be the same
        on the rest of it; where none spans all ranks, the others may be stages of a pipeline.

        Raises:
            InputError: none of the sharded parameters lies on all ranks.
            UnsupportedOptimizerError: one is sharded in a way that cannot be summed.
        """
        ranks = self.size
        sizes = {size for size in map(mesh_size, parameters) if size is not None}
        if sizes and ranks not in sizes:
            raise InputError(
                f"parameters are sharded over {max(sizes)} ranks, but {ranks} decide together: shard over a mesh of "
                "all of them, or pass process_group=mesh.get_group()"
            )

    def compare(self, sizes: Mapping[str, int], parameters: Sequence[Tensor]) -> dict[str, float]:
        """What to see to once: that all ranks train the same model. Common rates would spoil models of their own.

        Args:
            sizes: entries of each group, by name.
            parameters: all of them, the same on each rank unless they are sharded.

        Returns:
            What else must be the same, for `settle`; nothing if this process is alone.

        Raises:
            InputError: ranks have other groups; raised on all of them. Or as `check`.
        """
        self.check(parameters)  # again: they may have been sharded since the tuner was built
        if self.size == 1:
            return {}
        groups = "\n".join(f"{name} {size}" for name, size in sizes.items())
        # Apart and first: were the number of groups to differ, so would what follows.
        self.settle([], {"the groups (a checksum)": float(zlib.crc32(groups.encode()))})
        return {"the parameters (sum of absolute values)": checksum(parameters)}

    def share(self, parameter: Tensor) -> float:
        """The weight of this rank's entries in a sum over ranks: one over the ranks that hold the same ones."""
        mesh = mesh_size(parameter)
        return 1 / self.size if mesh is None else mesh / (self.size * replicas(parameter))

    def settle(self, slopes: Sequence[float], same: Mapping[str, float]) -> list[float]:
        """Sum slopes over ranks, and see that what must agree does; one exchange.

        Args:
            slopes: this rank's share of each (loss); nan where none of its entries moved.
            same: numbers that every rank must have alike, by what to call them.

        Returns:
            The sums; nan where no rank has any.

        Raises:
            InputError: ranks differ; raised on all of them.
        """
        if self.size == 1:
            return list(slopes)
        rows = self._gather([*slopes, *same.values()])
        for column, name in enumerate(same, start=len(slopes)):
            values = rows[:, column].tolist()
            if not all(math.isclose(value, values[0], rel_tol=1e-9) for value in values):
                raise InputError(
                    f"ranks differ in {name}: {_listed(values)}. Every rank must build HiDLR alike (total_steps, "
                    "rates, groups, seed) and call it at the same steps; ranks that train models of their own need "
                    "HiDLR(..., process_group=False)"
                )
        sums = []
        for own in rows[:, : len(slopes)].T.tolist():
            known = [value for value in own if not math.isnan(value)]
            sums.append(math.fsum(known) if known and all(map(math.isfinite, known)) else math.nan)
        return sums

    def mean(self, losses: Sequence[float], failure: Exception | None = None) -> list[float]:
        """The mean of each loss over ranks, as data parallelism averages gradients; one exchange.

        Args:
            losses: this rank's.
            failure: what its closure raised; the losses are then not used.

        Raises:
            ClosureError: the closure of another rank raised.
            Exception: ``failure``, once the others know.
        """
        if self.size > 1:
            rows = self._gather([*losses, float(failure is not None)])
            failed = rows[:, -1].nonzero()[:, 0].tolist()
            if failed and failure is None:
                raise ClosureError(
                    f"the closure raised on rank {', '.join(map(str, failed))} of {self.size}, not here: all ranks "
                    "keep their rates; see that rank's own error"
                )
            losses = rows[:, :-1].mean(0).tolist()
        if failure is not None:
            raise failure
        return list(losses)

    def _gather(self, numbers: Sequence[float]) -> Tensor:
        """The numbers of every rank, float64 [ranks, numbers]."""
        mine = torch.tensor(numbers, dtype=torch.float64, device=self._device())
        rows = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(rows, mine, group=self._group)
        return torch.stack(rows).cpu()

    def _device(self) -> torch.device:
        backend = dist.get_backend(self._group or None)
        on_cpu = any(name in backend for name in ("gloo", "mpi", "fake"))
        accelerator = None if on_cpu else torch.accelerator.current_accelerator()
        return torch.device("cpu") if accelerator is None else accelerator


ALONE = Ranks(False)
"""This process alone."""


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"rank {rank} has {value:.6g}" for rank, value in enumerate(values[:4]))
    return shown + (", ..." if len(values) > 4 else "")
