"""measure_influence against autograd in float64, and that it leaves no trace."""

import pytest
import torch
from torch import nn

import hidlr
from support.models import TASKS, mlp, trained
from support.quadratic import quadratic
from support.traces import Trace


def exact(task, moves):
    """b_k^2 / A_kk of each group along its move, by double backward."""
    found = {}
    for name, own in task.groups.items():
        loss = task.closure()
        gradients = torch.autograd.grad(loss, own, create_graph=True)
        slope = -sum((g * moves[p]).sum() for g, p in zip(gradients, own, strict=True))
        products = torch.autograd.grad(slope, own)
        curvature = -sum((h * moves[p]).sum() for h, p in zip(products, own, strict=True))
        found[name] = (slope.item(), curvature.item())
    return found


@pytest.mark.parametrize("name", list(TASKS))
def test_one_step_is_what_autograd_says(name):
    task = TASKS[name]()
    optimizer = torch.optim.Adam(task.param_groups(1e-3), lr=1e-3)
    start = {p: p.detach().clone() for p in task.model.parameters()}
    task.backward()
    optimizer.step()
    moves = {p: p.detach() - start[p] for p in task.model.parameters()}
    with torch.no_grad():
        for p, value in start.items():
            p.copy_(value)
    optimizer.state.clear()
    truth = exact(task, moves)
    found = hidlr.measure_influence(task.model, task.closure, optimizer=optimizer, steps=1, probes=99)
    for group, (slope, curvature) in truth.items():
        size = sum(p.numel() for p in task.groups[group])
        if curvature > 0:
            assert found.ppi[group] == pytest.approx(slope**2 / (curvature * size), rel=0.01)
        else:
            assert found.nonconvex[group] == 1
            assert group not in found.ppi


@pytest.mark.parametrize("rate", [1e-6, 1e-2])
def test_a_quadratic_has_its_closed_form_at_any_rate(rate):
    model = quadratic((3, 2), coupled=False)
    optimizer = torch.optim.SGD(model.groups(rate))
    gradient = model.gradient + model.hessian @ model.vector().detach()
    found = hidlr.measure_influence(model, model, optimizer=optimizer, steps=1, probes=2)
    for name, part in (("part0", slice(0, 3)), ("part1", slice(3, 5))):
        g, h = gradient[part], model.hessian[part, part]
        assert found.total[name] == pytest.approx(((g @ g) ** 2 / (2 * g @ h @ g)).item(), rel=0.01)


def test_the_run_is_the_optimizers_own():
    model = quadratic((2, 2))
    optimizer = torch.optim.SGD(model.groups(0.05), momentum=0.9)
    seen = []

    def closure():
        if torch.is_grad_enabled():
            seen.append(model.vector().detach().clone())
        return model()

    hidlr.measure_influence(model, closure, optimizer=optimizer, steps=4)
    assert len(seen) == 4
    for expected in seen:
        torch.testing.assert_close(model.vector().detach(), expected, rtol=0, atol=0)
        optimizer.zero_grad()
        model().backward()
        optimizer.step()


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


def test_no_trace_is_left():
    model, optimizer, closure = trained(adamw)
    model.norm.eval()
    before = Trace(model, optimizer)
    found = hidlr.measure_influence(model, [closure, closure], optimizer=optimizer, steps=5, by="tensor")
    before.assert_same(names=False)
    assert set(found.ppi) <= set(found.sizes) == {name for name, _ in model.named_parameters()}


def test_no_trace_is_left_by_a_closure_that_raises():
    model, optimizer, closure = trained(adamw)
    calls = []

    def failing():
        calls.append(0)
        if len(calls) == 7:
            raise KeyError("data")
        return closure()

    before = Trace(model, optimizer)
    with pytest.raises(KeyError, match="data"):
        hidlr.measure_influence(model, failing, optimizer=optimizer, steps=5, by="tensor")
    before.assert_same(names=False)


def test_all_groups_are_measured_on_the_same_steps():
    task = mlp()
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        return task.closure()

    optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3)
    found = hidlr.measure_influence(task.model, closure, optimizer=optimizer, steps=9, by="tensor", probes=3)
    assert [found.measured[name] + found.refused[name] for name in found.sizes] == [3] * 6
    starts = [k for k, differentiated in enumerate(calls) if differentiated]
    forwards = [b - a - 1 for a, b in zip(starts, [*starts[1:], len(calls)], strict=True)]
    # The loss where the step began; at first six points for the noise; each group forth and back, on every third step.
    assert forwards[:2] == [7, 7]
    assert forwards[4] == forwards[6] == forwards[7] == 1
    assert forwards[2] >= 7 + 12
    # Where the curvature is known from before, once is enough but for what changed much since.
    assert all(1 + 12 <= forwards[k] <= 1 + 12 + 6 for k in (5, 8))


def test_many_groups_are_measured_once_and_few_twelve_times():
    model = nn.ParameterList(torch.full((1,), 1.0 + 0.01 * k, dtype=torch.float64) for k in range(201))

    def closure():
        return torch.stack([p.square().sum() for p in model]).sum()

    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    found = hidlr.measure_influence(model, closure, optimizer=optimizer, steps=6, by="tensor")
    assert set(found.measured.values()) == {1}
    few = torch.optim.SGD([{"params": list(model[:3]), "name": "few"}], lr=1e-3)
    assert hidlr.measure_influence(model, closure, optimizer=few).measured == {"few": 12}


def test_a_step_far_too_long_does_not_pass_for_noise():
    # Along the whole first step this loss is no parabola, nor a cubic; near its start it is, and float64 is exact. To
    # take the difference for noise would hide the slight curvature of the second group.
    steep, flat = nn.Parameter(torch.ones(4, dtype=torch.float64)), nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([{"params": [steep], "name": "steep"}, {"params": [flat], "name": "flat"}], lr=8.0)
    model = nn.ParameterList([steep, flat])
    found = hidlr.measure_influence(
        model, lambda: -steep.cos().mean() + 1.5e-4 * flat.square().sum(), optimizer=optimizer, steps=4
    )
    assert found.measured["flat"] >= 3
    assert found.ppi["flat"] == pytest.approx(3e-4, rel=0.02)


def test_noise_of_low_precision_is_seen_and_not_taken_for_curvature():
    weight = nn.Parameter(torch.full((64,), 1.0))
    optimizer = torch.optim.SGD([{"params": [weight], "name": "weight"}], lr=1e-4)
    model = nn.Module()
    model.weight = weight
    noise = torch.randn(4096, generator=torch.Generator().manual_seed(1))
    calls = iter(range(4096))
    found = hidlr.measure_influence(
        model, lambda: weight.sum() + 0.01 * noise[next(calls)], optimizer=optimizer, steps=12, probes=12
    )
    # A plane, seen through noise far above float32's rounding: there is no curvature to find.
    assert found.refused["weight"] >= 11


def test_groups_are_those_of_the_optimizer_unless_told():
    task = mlp()
    optimizer = torch.optim.Adam(task.param_groups(1e-3))
    found = hidlr.measure_influence(task.model, task.closure, optimizer=optimizer, steps=2)
    assert list(found.sizes) == ["first", "rest", "bias"]
    assert found.members["first"] == ("0.weight",)
    assert found.places["0.weight"].role == "mlp"
    partial = torch.optim.Adam(task.model[0].parameters())
    found = hidlr.measure_influence(task.model, task.closure, optimizer=partial, steps=2, by="tensor")
    assert list(found.sizes) == ["0.weight", "0.bias"]


def test_float32_agrees_with_float64():
    both = []
    for dtype in (torch.float32, torch.float64):
        task = mlp(dtype)
        with torch.no_grad():
            for parameter, other in zip(task.model.parameters(), mlp().model.parameters(), strict=True):
                parameter.copy_(other.float())
        inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
        labels = torch.arange(12) % 3
        closure = lambda model=task.model, x=inputs, y=labels: nn.functional.cross_entropy(model(x), y)  # noqa: E731
        optimizer = torch.optim.Adam(task.param_groups(1e-3))
        both.append(hidlr.measure_influence(task.model, closure, optimizer=optimizer, steps=8, probes=3))
    single, double = both
    assert single.ppi.keys() == double.ppi.keys()
    for name in double.ppi:
        assert abs(single.ppi[name] - double.ppi[name]) <= max(single.error[name], 0.03 * double.ppi[name])


@pytest.mark.parametrize(
    ("closures", "options", "error", "named"),
    [
        ([], {}, hidlr.InputError, "no closures"),
        (3.0, {}, hidlr.InputTypeError, "float"),
        ([torch.zeros(())], {}, hidlr.InputTypeError, "Tensor"),
        (lambda: torch.zeros(()), {}, hidlr.ClosureError, "measure_influence"),
        (None, {"steps": 0}, hidlr.InputError, "steps=0"),
        (None, {"probes": 0}, hidlr.InputError, "probes=0"),
        (None, {"by": "roles"}, hidlr.InputError, "roles"),
    ],
)
def test_bad_input(closures, options, error, named):
    task = mlp()
    before = Trace(task.model)
    optimizer = torch.optim.SGD(task.model.parameters(), lr=1e-2)
    with pytest.raises(error, match=named):
        hidlr.measure_influence(
            task.model, task.closure if closures is None else closures, optimizer=optimizer, **options
        )
    before.assert_same()


def test_a_loss_that_is_not_finite():
    task = mlp()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=1e-2)
    with pytest.raises(hidlr.InputError, match="nan"):
        hidlr.measure_influence(task.model, lambda: task.closure() * float("nan"), optimizer=optimizer, steps=1)


def test_all_losses_of_a_step_draw_the_same_masks_and_the_next_step_others():
    task = mlp()
    states = []

    def closure():
        states.append((torch.is_grad_enabled(), torch.get_rng_state()))
        torch.rand(3)  # dropout
        return task.closure()

    optimizer = torch.optim.Adam(task.model.parameters(), lr=1e-3)
    hidlr.measure_influence(task.model, closure, optimizer=optimizer, steps=3)
    firsts = [state for differentiated, state in states if differentiated]
    assert len(firsts) == 3
    assert not torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[1], firsts[2])
    for differentiated, state in states:
        if differentiated:
            current = state
        assert torch.equal(state, current)
