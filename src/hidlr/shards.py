"""This rank's part of a sharded parameter: copied, placed and multiplied where it lies, so that nothing is gathered."""

import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hidlr.errors import UnsupportedOptimizerError

__all__ = ["checksum", "gradient", "laid_out", "local", "mesh_size", "replicas", "whole"]


def local(tensor: Tensor) -> Tensor:
    """The entries that this rank holds; a plain tensor is all of its own. Writing to them writes the parameter."""
    if not _is_sharded(tensor):
        return tensor
    with torch.no_grad():
        part: Tensor = tensor.to_local()  # type: ignore[attr-defined]
    return part


def gradient(parameter: Tensor) -> Tensor | None:
    """This rank's part of the gradient, entry for entry beside `local`; None if there is none."""
    grad = parameter.grad
    if grad is None or not _is_sharded(grad):
        return grad
    layout: Any = parameter
    grads: Any = grad
    if grads.placements != layout.placements:  # tensor parallelism leaves sums that are pending
        grads = grads.redistribute(placements=layout.placements)
    return local(grads)


def mesh_size(parameter: Tensor) -> int | None:
    """Ranks that a sharded parameter lies on; None for a plain one.

    Raises:
        UnsupportedOptimizerError: a flat parameter of FSDP1, or a sum that is pending.
    """
    if getattr(parameter, "_fsdp_flattened", False) or type(parameter).__name__ == "FlatParameter":
        raise UnsupportedOptimizerError(
            "FullyShardedDataParallel (FSDP1) cuts parameters at places that have nothing to do with groups: shard "
            "with torch.distributed.fsdp.fully_shard (FSDP2) instead"
        )
    return int(_layout(parameter).device_mesh.size()) if _is_sharded(parameter) else None


def replicas(parameter: Tensor) -> int:
    """Ranks of its mesh that hold the same entries of a sharded parameter (HSDP, replicated norms)."""
    layout = _layout(parameter)
    count = 1
    for dimension, placement in enumerate(layout.placements):
        if placement.is_partial():
            raise UnsupportedOptimizerError(f"a parameter of shape {tuple(parameter.shape)} is a pending sum")
        if placement.is_replicate():
            count *= int(layout.device_mesh.size(dimension))
    return count


@torch.no_grad()
def checksum(parameters: Iterable[Tensor]) -> float:
    """The sum of absolute values, float64, of those that are not sharded: replicas have it alike."""
    sums = [p.abs().sum(dtype=torch.float64).cpu() for p in parameters if not _is_sharded(p)]
    return float(torch.stack(sums).sum()) if sums else 0.0


def whole(part: Tensor, parameter: Tensor) -> Tensor:
    """A tensor laid out as the parameter is, of which this rank holds ``part``."""
    if not _is_sharded(parameter):
        return part
    layout = _layout(parameter)
    made: Tensor = type(layout).from_local(
        part, layout.device_mesh, layout.placements, run_check=False, shape=layout.shape, stride=layout.stride()
    )
    return made


def laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy of this rank's part of ``value`` once it is laid out as the parameter is, on its device.

    Either may be sharded or not: a run may go on with more ranks or fewer.
    """
    value = value.detach()
    same = _is_sharded(value) == _is_sharded(parameter)
    if same and _is_sharded(value):
        one, other = _layout(value), _layout(parameter)
        same = one.device_mesh == other.device_mesh and one.placements == other.placements
    if not same:
        if _is_sharded(value):
            value = _layout(value).full_tensor()
        if _is_sharded(parameter) and value.shape == parameter.shape:
            from torch.distributed.tensor import distribute_tensor

            layout = _layout(parameter)
            # Each rank has the whole, and cuts out its own part: no communication.
            value = distribute_tensor(
                value.to(parameter.device), layout.device_mesh, layout.placements, src_data_rank=None
            )
    return local(value).to(parameter.device, copy=True)


def _layout(tensor: Tensor) -> Any:
    return tensor


def _is_sharded(tensor: Tensor) -> bool:
    # No DTensor can be about before its module is, and importing it takes half a second.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)
