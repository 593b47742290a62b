import random

import numpy as np
import pytest
import torch
from torch import nn

from hidlr.displacement import Displacement
from hidlr.errors import ClosureError, InputError, InputTypeError
from hidlr.probe import Probe
from support.traces import assert_equal


@pytest.fixture
def line():
    """A parameter that went from 1 to 3; the loss is its square plus 1."""
    parameter = nn.Parameter(torch.ones(()))
    displacement = Displacement([[parameter]])
    with torch.no_grad():
        parameter.fill_(3.0)
    return parameter, displacement


def test_losses_at_points(line):
    parameter, displacement = line
    with Probe(displacement, lambda: parameter**2 + 1, [parameter]) as probe:
        # w = 1 + 2 xi: 1, 3, -1, 2.
        assert probe.measure([(0.0,), (1.0,), (-1.0,)]) == [2.0, 10.0, 2.0]
        assert probe.measure([(0.5,)]) == [5.0]
    assert probe.points == [(0.0,), (1.0,), (-1.0,), (0.5,)]
    assert probe.losses == [2.0, 10.0, 2.0, 5.0]
    assert probe.forwards == 4


def test_several_closures_add_up(line):
    parameter, displacement = line
    with Probe(
        displacement, [lambda: parameter, lambda: 10 * parameter, lambda: 100 * parameter], [parameter]
    ) as probe:
        assert probe.measure([(1.0,), (0.0,)]) == [333.0, 111.0]
    assert probe.forwards == 6


def test_losses_add_up_in_float64(line):
    parameter, displacement = line
    parts = [lambda: torch.tensor(1e8), lambda: torch.tensor(1.0), lambda: torch.tensor(-1e8)]
    with Probe(displacement, parts, [parameter]) as probe:
        assert probe.measure([(0.0,)]) == [1.0]


def test_weights_cast_by_autocast_are_not_kept_from_point_to_point():
    # Autocast remembers the bfloat16 copy of a weight until its outermost context is left.
    model = nn.Linear(3, 1)
    displacement = Displacement([list(model.parameters())])
    x = torch.randn(4, 3)
    with torch.no_grad():
        model.weight.add_(1.0)

    def loss():
        return model(x).float().square().mean()

    points = [(0.0,), (0.5,), (1.0,)]
    with Probe(displacement, torch.autocast("cpu", torch.bfloat16)(loss), model.parameters()) as probe:
        expected = probe.measure(points)
    assert len(set(expected)) == 3
    with torch.autocast("cpu", torch.bfloat16):
        loss()
        with Probe(displacement, loss, model.parameters()) as probe:
            assert probe.measure(points) == expected
            displacement.place([0.5])
        with torch.no_grad():
            assert loss().item() == expected[1]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_any_shape_with_one_entry_is_a_scalar(line, shape):
    parameter, displacement = line
    with Probe(displacement, lambda: parameter.reshape(shape), [parameter]) as probe:
        assert probe.measure([(1.0,)]) == [3.0]


@pytest.mark.parametrize(
    ("dtype", "eps"), [(torch.float64, 2.0**-52), (torch.float32, 2.0**-23), (torch.bfloat16, 2.0**-7)]
)
def test_noise_is_the_rounding_of_the_closure(line, dtype, eps):
    parameter, displacement = line
    with Probe(displacement, lambda: parameter.to(dtype), [parameter]) as probe:
        probe.measure([(0.0,)])
    assert probe.noise(-4.0) == 4 * eps
    assert probe.noise(float("nan")) == float("inf")


def test_no_graph_is_built(line):
    parameter, displacement = line
    seen = []
    with Probe(displacement, lambda: seen.append((parameter * 2).requires_grad) or parameter, [parameter]) as probe:
        probe.measure([(0.0,)])
    assert seen == [False]


def test_each_point_sees_the_same_random_numbers(line, isolated):
    parameter, displacement = line
    drop = nn.Dropout()

    def closure():
        noise = random.random() + float(np.random.rand()) + torch.rand(())
        return parameter * 0 + noise + drop(torch.ones(50)).sum()

    with Probe(displacement, closure, [parameter]) as probe:
        first, second, third = probe.measure([(0.0,), (5.0,), (0.0,)])
    assert first == second == third


def test_closures_of_one_point_see_different_random_numbers(line):
    # Micro-batches drew different dropout masks when they were trained on.
    parameter, displacement = line
    drawn = []
    with Probe(displacement, [lambda: drawn.append(torch.rand(())) or drawn[-1]] * 2, [parameter]) as probe:
        probe.measure([(0.0,), (1.0,)])
    assert drawn[0] != drawn[1]
    assert drawn[:2] == drawn[2:]


def test_the_parameters_stay_where_they_were_placed_last(line):
    parameter, displacement = line
    with Probe(displacement, lambda: parameter, [parameter]) as probe:
        probe.measure([(0.0,), (-3.0,)])
        displacement.place([0.25])
    assert parameter.item() == 1.5


class BoomError(Exception):
    pass


@pytest.mark.parametrize("calls_before", [0, 1, 2])
def test_an_exception_puts_the_step_back(line, calls_before):
    parameter, displacement = line
    parameter.grad = grad = torch.tensor(7.0)
    calls = []

    def closure():
        calls.append(1)
        if len(calls) > calls_before:
            raise BoomError
        return parameter

    with pytest.raises(BoomError), Probe(displacement, closure, [parameter]) as probe:
        probe.measure([(0.0,), (0.5,), (2.0,)])
    assert parameter.item() == 3.0
    assert parameter.grad is grad


@pytest.mark.parametrize(
    "closure",
    [
        pytest.param(lambda p: (p**2).backward(), id="backward"),
        pytest.param(lambda p: torch.autograd.grad(p**2, p), id="grad"),
    ],
)
def test_a_closure_that_needs_gradients_is_told_so(line, closure):
    parameter, displacement = line
    with (
        pytest.raises(ClosureError, match=r"calls backward or autograd.grad.*forward-only.*lambda: loss_fn"),
        Probe(displacement, lambda: closure(parameter), [parameter]) as probe,
    ):
        probe.measure([(0.0,)])
    assert parameter.item() == 3.0
    assert parameter.grad is None


def test_backward_under_enable_grad_is_detected(line):
    parameter, displacement = line
    parameter.grad = grad = torch.tensor(7.0)

    def closure():
        with torch.enable_grad():
            loss = parameter**2
            loss.backward()
        return loss

    with pytest.raises(ClosureError, match="forward-only"), Probe(displacement, closure, [parameter]) as probe:
        probe.measure([(0.0,)])
    assert parameter.grad is grad
    assert_equal(grad, torch.tensor(7.0))


def test_differentiating_with_respect_to_inputs_is_fine(line):
    parameter, displacement = line

    def closure():
        with torch.enable_grad():
            x = torch.tensor(2.0, requires_grad=True)
            (slope,) = torch.autograd.grad(parameter * x**2, x, create_graph=True)
        return slope**2

    with Probe(displacement, closure, [parameter]) as probe:
        assert probe.measure([(0.0,)]) == [16.0]


def test_other_runtime_errors_pass_unchanged(line):
    parameter, displacement = line
    with (
        pytest.raises(RuntimeError, match="out of memory") as caught,
        Probe(displacement, lambda: (_ for _ in ()).throw(RuntimeError("out of memory")), [parameter]) as probe,
    ):
        probe.measure([(0.0,)])
    assert not isinstance(caught.value, ClosureError)


@pytest.mark.parametrize("value", [0.5, None, np.float64(0.5), "0.5"])
def test_a_closure_that_returns_no_tensor_is_told_so(line, value):
    parameter, displacement = line
    with (
        pytest.raises(InputTypeError, match=rf"returned {type(value).__name__}.*without \.item\(\)"),
        Probe(displacement, lambda: value, [parameter]) as probe,
    ):
        probe.measure([(0.0,)])


def test_a_closure_that_returns_a_vector_is_told_so(line):
    parameter, displacement = line
    with (
        pytest.raises(InputError, match=r"shape \(3, 2\).*loss\.mean\(\)"),
        Probe(displacement, lambda: torch.ones(3, 2), [parameter]) as probe,
    ):
        probe.measure([(0.0,)])


@pytest.mark.parametrize("closures", [torch.tensor(1.0), 3, None, [torch.tensor(1.0)]])
def test_what_cannot_be_called_is_told_so(line, closures):
    parameter, displacement = line
    with pytest.raises(InputTypeError, match=r"takes a callable that computes the loss.*lambda: loss_fn"):
        Probe(displacement, closures, [parameter])


def test_no_closures(line):
    parameter, displacement = line
    with pytest.raises(InputError, match="empty list of closures: pass one per micro-batch"):
        Probe(displacement, [], [parameter])


def test_measure_outside_the_block(line):
    parameter, displacement = line
    with pytest.raises(InputError, match="outside the probe's with-block"):
        Probe(displacement, lambda: parameter, [parameter]).measure([(0.0,)])
