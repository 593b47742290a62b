import functools
import gc
import random
from types import SimpleNamespace
from weakref import WeakSet

import numpy as np
import pytest
import torch
from torch import nn

from hidlr.probe.surroundings import RandomState, Surroundings, modules_reached
from support.traces import RandomStates, Trace

GLOBAL_MODEL = nn.Linear(1, 1)


def forward_through_a_global():
    return GLOBAL_MODEL(torch.ones(1))


class Trainer:
    """Holds a model as an attribute, as trainers do."""

    def __init__(self, model):
        self.model = model

    def loss(self):
        return self.model(torch.ones(1)).sum()


def reached_by(function):
    return set(modules_reached(function))


MODEL = nn.Linear(1, 1)


def holder(model):
    trainer, state = Trainer(model), SimpleNamespace(model=model)
    return [
        pytest.param(model, id="the module itself"),
        pytest.param(lambda: model(torch.ones(1)), id="cell"),
        pytest.param(lambda m=model: m(torch.ones(1)), id="default"),
        pytest.param(lambda *, m=model: m(torch.ones(1)), id="keyword default"),
        pytest.param(functools.partial(lambda m: m(torch.ones(1)), model), id="partial"),
        pytest.param(functools.partial(lambda m: m(torch.ones(1)), m=model), id="partial keyword"),
        pytest.param(lambda: (lambda: model(torch.ones(1)))(), id="nested function"),
        pytest.param(model.forward, id="bound method"),
        pytest.param(Trainer(model).loss, id="attribute of a bound object"),
        pytest.param(lambda: trainer.loss(), id="attribute of an object"),
        pytest.param(lambda: state.model(torch.ones(1)), id="namespace"),
        pytest.param(lambda models=(model,): models[0](torch.ones(1)), id="tuple"),
        pytest.param(lambda models=[model]: models[0](torch.ones(1)), id="list"),
        pytest.param(lambda models={"a": model}: models["a"](torch.ones(1)), id="dict"),
    ]


@pytest.mark.parametrize("function", holder(MODEL))
def test_a_module_is_found_wherever_a_closure_keeps_it(function):
    assert MODEL in reached_by(function)


def test_a_module_is_found_among_globals():
    assert GLOBAL_MODEL in reached_by(forward_through_a_global)
    assert GLOBAL_MODEL in reached_by(lambda: forward_through_a_global())


def test_cycles_and_empty_cells_are_no_trouble():
    def recurse():
        return recurse if late else None

    recursive = [recurse]
    recursive.append(recursive)
    assert reached_by(recurse) == set()  # `late` is an empty cell here
    assert reached_by(lambda x=recursive: x) == set()
    late = MODEL
    assert reached_by(recurse) == {MODEL}


@pytest.mark.parametrize("generator", ["python", "numpy", "torch"])
def test_random_state(generator):
    draw = {"python": random.random, "numpy": np.random.rand, "torch": lambda: torch.rand(()).item()}[generator]
    state = RandomState([torch.device("cpu")])
    first = [draw() for _ in range(3)]
    state.set_back()
    assert [draw() for _ in range(3)] == first


def surroundings(model, closure=lambda: None):
    return Surroundings(model.parameters(), [closure], WeakSet([model]))


def test_gradients_are_put_aside_and_come_back_as_the_same_objects():
    model = nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    trace = Trace(model)
    around = surroundings(model)
    assert model.weight.grad is None
    assert not around.grads_appeared()
    model.bias.grad = torch.ones(2)
    assert around.grads_appeared()
    around.close()
    trace.assert_same()


class Recorder(nn.Module):
    """Changes its buffers the ways that real modules do."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("in_place", torch.zeros(2))
        self.register_buffer("through_data", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros(2), persistent=False)
        self.register_buffer("resized", torch.zeros(2))
        self.register_buffer("lazy", None)
        self.register_buffer("dropped", torch.ones(1))
        self.register_buffer("expanded", torch.ones(1).expand(3))  # cannot be written in place by anyone

    def forward(self):
        self.in_place.add_(1)
        self.through_data.data.add_(1)  # as many codebooks and averages of weights do
        self.replaced = self.replaced + 1
        self.resized = torch.cat([self.resized, torch.ones(1)])
        self.lazy = torch.ones(3)
        self.dropped = None
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.ones(1))
        return self.weight


@pytest.mark.parametrize("hidden", [False, True], ids=["reached", "hidden"])
def test_buffers_are_set_back_after_each_point_however_they_were_changed(hidden):
    model = Recorder()
    trace = Trace(model)
    around = Surroundings(model.parameters(), [lambda: None], WeakSet() if hidden else WeakSet([model]))
    for _ in range(2):
        model()
        around.set_back()
        assert model.in_place.tolist() == [0.0, 0.0]
        assert model.through_data.tolist() == [0.0, 0.0]
        assert model.replaced.tolist() == [0.0, 0.0]
        assert model.resized.tolist() == [0.0, 0.0]
        assert model.lazy is None
        assert model.dropped.tolist() == [1.0]
        assert not hasattr(model, "late")
    around.close()
    trace.assert_same()


def test_a_buffer_that_did_not_change_is_not_written():
    # A graph that saved it for backward would refuse to run.
    model = nn.BatchNorm1d(2)
    model.eval()
    version = model.running_mean._version
    around = surroundings(model)
    model(torch.randn(3, 2))
    around.close()
    assert model.running_mean._version == version


def test_modes_are_set_back_module_by_module():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2)), nn.Linear(2, 2))
    model[1].eval()
    trace = Trace(model)
    around = surroundings(model)
    model.eval()
    around.set_back()
    assert [m.training for m in model.modules()] == [True, True, False, False, True]
    model.train()
    around.close()
    trace.assert_same()


def test_flags_are_set_back():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    trace = Trace(model)
    around = surroundings(model)
    model.weight.requires_grad_(False)
    model.bias.requires_grad_(True)
    around.close()
    trace.assert_same()


def test_a_module_built_inside_is_harmless_and_not_kept_alive():
    known = WeakSet()
    around = Surroundings([], [lambda: None], known)
    nn.Linear(1, 1)(torch.ones(1))
    around.close()
    del around
    gc.collect()
    assert len(known) == 0


def test_nothing_watches_afterwards():
    hooks = nn.modules.module._global_forward_pre_hooks
    before = len(hooks)
    around = surroundings(nn.Linear(1, 1))
    assert len(hooks) == before + 1
    around.close()
    assert len(hooks) == before


def test_random_states_are_set_back_on_closing():
    model = nn.Linear(1, 1)
    before = RandomStates.take()
    around = surroundings(model)
    random.random()
    torch.rand(3)
    np.random.rand()
    around.close()
    before.assert_same()
