"""What a forward pass changes besides its result: random states, buffers, modes, gradients, gathered shards."""

import functools
import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

__all__ = ["RandomState", "Surroundings", "modules_reached"]

_SHORT = 100  # a longer container holds data, not models


class RandomState:
    """The random state of Python, numpy (if loaded), the CPU and the given devices, to set back.

    Args:
        devices: devices of the parameters; the CPU is always included.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._python = random.getstate()
        numpy = sys.modules.get("numpy")
        self._numpy = numpy.random.get_state() if numpy is not None else None
        self._cpu = torch.get_rng_state()
        self._devices = {
            device: torch.get_device_module(device).get_rng_state(*_index(device))
            for device in devices
            if device.type not in ("cpu", "meta")
        }

    def set_back(self) -> None:
        """Make every generator continue from the moment this was taken."""
        random.setstate(self._python)
        if self._numpy is not None:
            sys.modules["numpy"].random.set_state(self._numpy)
        torch.set_rng_state(self._cpu)
        for device, state in self._devices.items():
            torch.get_device_module(device).set_rng_state(state, *_index(device))


class Surroundings:
    """Keeps all that a closure may touch besides the tuned parameters, and sets it back.

    Modules are found in what the closure reaches (cells, globals, bound objects) and, for those
    hidden deeper, by a forward pre-hook that sees each module just before it runs (not where torch.compile
    is at work: it would compile the hook in, anew at each probe). Their buffers and
    training flags are set back after each point, their parameters' gradients and flags on `close`.

    Args:
        parameters: the tuned parameters; their gradients are put aside until `close`.
        closures: the callables about to be run.
        known: modules seen at earlier probes; this one's are added to it.
    """

    def __init__(
        self, parameters: Iterable[Tensor], closures: Iterable[Callable[[], Any]], known: "WeakSet[nn.Module]"
    ) -> None:
        self._parameters = list(parameters)
        self._known = known
        self._modes: dict[nn.Module, bool] = {}
        self._buffers: list[tuple[nn.Module, dict[str, Tensor | None]]] = []
        self._written: list[Tensor] = []
        self._copies: list[Tensor] = []
        self._sharded: list[Any] = []  # FSDP2
        self._synchronised: list[tuple[Any, bool]] = []  # DDP, and whether its next forward sends buffers
        self._random = RandomState({parameter.device for parameter in self._parameters})
        self._aside: dict[Tensor, tuple[Tensor | None, bool]] = {}
        for parameter in self._parameters:
            self._put_aside(parameter)
        for module in {*known, *(found for closure in closures for found in modules_reached(closure))}:
            self._remember(module)
        self._hook: RemovableHandle | None = None
        if not _compiles():
            self._hook = register_module_forward_pre_hook(lambda module, _: self._remember(module))

    def _remember(self, root: nn.Module) -> None:
        if root in self._modes:
            return
        self._known.add(root)
        for module in root.modules():
            if module in self._modes:
                continue
            self._modes[module] = module.training
            if _is_fsdp(module):
                self._sharded.append(module)
            if isinstance(module, nn.parallel.DistributedDataParallel):
                self._synchronised.append((module, getattr(module, "require_forward_param_sync", True)))
            for parameter in module._parameters.values():
                if parameter is not None:
                    self._put_aside(parameter)
            if not module._buffers:
                continue
            self._buffers.append((module, dict(module._buffers)))
            kept = [b for b in module._buffers.values() if b is not None and not _overlaps(b)]
            self._written += kept
            self._copies += [buffer.detach().clone() for buffer in kept]

    def _put_aside(self, parameter: Tensor) -> None:
        if parameter not in self._aside:
            self._aside[parameter] = (parameter.grad, parameter.requires_grad)
            parameter.grad = None

    def set_back(self) -> None:
        """Random states, buffers, modes and what wrappers keep as they were at the start."""
        self._random.set_back()
        for module, training in self._modes.items():
            module.training = training
        for sharded in self._sharded:
            # Without a backward the root keeps what it gathered, and the next forward would see the last point again.
            sharded.reshard()
        for wrapper, sends in self._synchronised:
            wrapper.require_forward_param_sync = sends
        for module, buffers in self._buffers:
            now = module._buffers
            if len(now) != len(buffers) or any(now.get(name) is not buffer for name, buffer in buffers.items()):
                now.clear()
                now.update(buffers)
        if self._written:
            # All of them, through .data: its writers leave no mark on the version counter that could be
            # asked, and a graph that saved a buffer for its backward must not be told of this write.
            torch._foreach_copy_([buffer.data for buffer in self._written], self._copies)

    def grads_appeared(self) -> bool:
        """Whether the closure has run a backward pass into a tuned parameter."""
        return any(parameter.grad is not None for parameter in self._parameters)

    def close(self) -> None:
        """Set everything back, gradients and their flags included, and stop watching modules."""
        if self._hook is not None:
            self._hook.remove()
        self.set_back()
        for parameter, (grad, flag) in self._aside.items():
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)
            parameter.grad = grad


def modules_reached(function: Callable[..., Any]) -> Iterator[nn.Module]:
    """The modules that a callable refers to: itself, cells, used globals, partial arguments, bound object.

    Of objects and short containers among these, also what they hold directly.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> next(modules_reached(lambda: model(torch.ones(2)))) is model
        True
    """
    todo: list[Any] = [function]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, nn.Module):
            yield item
        elif isinstance(item, functools.partial):
            todo += [item.func, *item.args, *item.keywords.values()]
        elif isinstance(item, types.MethodType):
            todo += [item.__func__, item.__self__]
        elif isinstance(item, types.FunctionType):
            todo += [cell.cell_contents for cell in item.__closure__ or () if _filled(cell)]
            todo += [*(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
            todo += [item.__globals__[name] for name in item.__code__.co_names if name in item.__globals__]
        elif isinstance(item, list | tuple | dict) and len(item) <= _SHORT:
            values = item.values() if isinstance(item, dict) else item
            todo += [value for value in values if isinstance(value, nn.Module)]
        elif hasattr(item, "__dict__") and not isinstance(item, types.ModuleType | type | Tensor):
            # A trainer or a namespace: one level, since further in lies the whole program.
            todo += [value for value in vars(item).values() if isinstance(value, nn.Module)]


def _compiles() -> bool:
    """Whether torch.compile has made a graph in this process."""
    dynamo = sys.modules.get("torch._dynamo")
    return dynamo is not None and bool(dynamo.utils.counters["stats"]["unique_graphs"])


def _is_fsdp(module: nn.Module) -> bool:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # no such module can be about before its class is
    return fsdp is not None and isinstance(module, fsdp.FSDPModule)


def _overlaps(tensor: Tensor) -> bool:
    """Whether entries share memory (expanded): nothing can write such a buffer in place."""
    return any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018  (an empty cell raises)
    except ValueError:
        return False
    return True


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)
