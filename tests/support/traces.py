"""Everything a probe could leave a trace in, taken before and compared after, bit for bit."""

import copy
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def assert_equal(actual: Any, expected: Any, where: str = "") -> None:
    """Bit for bit: values, dtypes and structure, through dicts and lists; nan equals nan."""
    if isinstance(expected, Tensor):
        torch.testing.assert_close(
            actual, expected, rtol=0, atol=0, equal_nan=True, msg=lambda text: f"{where}: {text}"
        )
    elif isinstance(expected, Mapping):
        assert list(actual) == list(expected), where
        for key in expected:
            assert_equal(actual[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(actual) == len(expected), where
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_equal(one, other, f"{where}[{index}]")
    elif isinstance(expected, float) and expected != expected:
        assert actual != actual, where
    else:
        assert type(actual) is type(expected), where
        assert actual == expected, f"{where}: {actual!r} is not {expected!r}"


@dataclass(frozen=True)
class RandomStates:
    """The global generators' states."""

    python: Any
    numpy: Any
    torch: Tensor

    @classmethod
    def take(cls) -> Self:
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state())

    def set_back(self) -> None:
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)

    def assert_same(self) -> None:
        assert random.getstate() == self.python, "Python's random state moved"
        for one, other in zip(np.random.get_state(), self.numpy, strict=True):
            assert np.array_equal(one, other), "numpy's random state moved"
        assert torch.equal(torch.get_rng_state(), self.torch), "torch's random state moved"


class Trace:
    """A model's, an optimizer's and the process's state at one moment.

    `assert_same` compares by value, and gradients and buffers by identity too: code elsewhere may
    hold on to them.
    """

    def __init__(self, modules: nn.Module | Iterable[nn.Module], *optimizers: Optimizer) -> None:
        roots = [modules] if isinstance(modules, nn.Module) else list(modules)
        self.modules = [module for root in roots for module in root.modules()]
        self.optimizers = optimizers
        self.parameters = [p for root in roots for p in root.parameters()]
        self.values = [p.detach().clone() for p in self.parameters]
        self.grads = [p.grad for p in self.parameters]
        self.grad_values = [None if p.grad is None else p.grad.clone() for p in self.parameters]
        self.flags = [p.requires_grad for p in self.parameters]
        self.modes = [module.training for module in self.modules]
        self.buffers = [dict(module.named_buffers(recurse=False)) for module in self.modules]
        self.buffer_values = [{name: b.clone() for name, b in own.items()} for own in self.buffers]
        self.states = [copy.deepcopy(optimizer.state_dict()) for optimizer in optimizers]
        self.random = RandomStates.take()

    def assert_same(self, *, parameters: bool = True, rates: bool = True, names: bool = True) -> None:
        """Compare; without parameters or rates where a new placement is what the call was for."""
        self.random.assert_same()
        if parameters:
            assert_equal([p.detach() for p in self.parameters], self.values, "parameters")
        for index, parameter in enumerate(self.parameters):
            assert parameter.grad is self.grads[index], f"gradient {index} is another object"
            assert parameter.requires_grad == self.flags[index], f"requires_grad of parameter {index}"
        assert_equal([g for g in self.grads if g is not None], [g for g in self.grad_values if g is not None])
        assert [module.training for module in self.modules] == self.modes, "train/eval flags"
        for module, own, values in zip(self.modules, self.buffers, self.buffer_values, strict=True):
            now = dict(module.named_buffers(recurse=False))
            assert list(now) == list(own), f"buffers of {type(module).__name__}"
            for name, buffer in now.items():
                assert buffer is own[name], f"buffer {name} is another object"
                assert_equal(buffer, values[name], f"buffer {name}")
        for optimizer, before in zip(self.optimizers, self.states, strict=True):
            now = optimizer.state_dict()
            dropped = {*(() if rates else ("lr",)), *(() if names else ("name",))}
            assert_equal(_without(now, dropped), _without(before, dropped), "optimizer")


def _without(state: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    groups = [{k: v for k, v in group.items() if k not in keys} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def optimizer_state(optimizer: Optimizer) -> Any:
    """The per-parameter state alone, to compare two optimizers at different rates."""
    return copy.deepcopy(optimizer.state_dict()["state"])
