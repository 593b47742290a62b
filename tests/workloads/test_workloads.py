import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hidlr import workloads
from hidlr.errors import InputError, MissingExtraError
from hidlr.workloads import Workload
from support import workloads as support

NAMES = workloads.names()


@pytest.fixture(params=NAMES)
def workload(request: pytest.FixtureRequest) -> Workload:
    return workloads.get(request.param)


def test_default_comes_first() -> None:
    assert NAMES[0] == "digits"


@pytest.mark.parametrize(("wrong", "right"), [("digit", "digits"), ("rosenbrok", "rosenbrock")])
def test_unknown_name_suggests_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{right}'"):
        workloads.get(wrong)


def test_name_like_nothing_lists_all() -> None:
    with pytest.raises(InputError, match=", ".join(NAMES)):
        workloads.get("zzz")


@pytest.mark.usefixtures("isolated")
def test_model_depends_on_the_seed_alone(workload: Workload) -> None:
    support.assert_model_depends_on_seed_alone(workload, fixed=workload.surface() is not None)


@pytest.mark.usefixtures("isolated")
def test_batch_depends_on_step_and_seed_alone(workload: Workload) -> None:
    fixed = workload.surface() is not None
    support.assert_batches_depend_on_step_and_seed_alone(workload, tuple(range(50)), fixed=fixed)


@pytest.mark.usefixtures("isolated")
def test_loss_metrics_and_mode(workload: Workload) -> None:
    support.assert_loss_metrics_and_mode(workload)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_an_epoch_sees_each_row_at_most_once(name: str) -> None:
    workload = workloads.get(name)
    epoch = {"digits": 21, "diabetes": 4}[name]
    rows = torch.cat([workload.batch(step, 0)[0].flatten(1) for step in range(epoch)])
    assert len(rows) == 64 * epoch
    assert len(rows.unique(dim=0)) >= len(rows) - 1  # the digits hold one image twice
    assert not torch.equal(rows[:64], workload.batch(epoch, 0)[0].flatten(1))


def test_digits_are_as_documented() -> None:
    workload = workloads.get("digits")
    assert workload.defaults.steps == 15 * 21
    model = workload.build(0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 136_010
    with torch.no_grad():
        assert model(workload.batch(0, 0)[0]).shape == (64, 10)


def test_patches_are_squares_of_the_image() -> None:
    model = workloads.get("digits").build(0)
    seen: list[torch.Tensor] = []
    model.patch_embed.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.arange(64.0).reshape(1, 8, 8)
    model(images)
    assert seen[0][0, 0].tolist() == [0, 1, 8, 9]
    assert seen[0][0, 5].tolist() == [18, 19, 26, 27]


def test_diabetes_has_a_group_per_feature_and_the_bias() -> None:
    workload = workloads.get("diabetes")
    group = workload.groupings[workload.defaults.groups]
    assert callable(group)
    model = workload.build(0)
    names = {group(name, parameter) for name, parameter in model.named_parameters()}
    assert names == {"bias", "age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"}


def test_diabetes_is_standardised_and_additive() -> None:
    workload = workloads.get("diabetes")
    inputs, targets = (torch.cat(parts) for parts in zip(*(workload.batch(i, 0) for i in range(4)), strict=True))
    torch.testing.assert_close(inputs.mean(0), torch.zeros(10), atol=0.2, rtol=0)
    torch.testing.assert_close(targets.std(), torch.tensor(1.0), atol=0.1, rtol=0)
    model = workload.build(0)
    with torch.no_grad():
        alone = [model(inputs * torch.eye(10)[k]) for k in range(10)]
        none = model(torch.zeros_like(inputs))
        torch.testing.assert_close(torch.stack(alone).sum(0) - 9 * none, model(inputs))


@pytest.mark.parametrize("name", ["rosenbrock", "beale", "ellipse"])
def test_function_is_zero_and_flat_at_its_minimum(name: str) -> None:
    function = workloads.get(name)
    surface = function.surface()
    assert surface is not None
    model = function.build(0)
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), surface.minimum, strict=True):
            parameter.fill_(value)
    loss = function.loss(model, ())
    loss.backward()
    assert loss.item() == 0
    assert [parameter.grad.item() for parameter in model.parameters()] == [0, 0]
    assert function.evaluate(model)["distance"] == 0


@pytest.mark.parametrize("name", ["rosenbrock", "beale", "ellipse"])
def test_surface_is_the_function_on_its_grid(name: str) -> None:
    function = workloads.get(name)
    surface = function.surface()
    assert surface is not None
    model = function.build(0)
    start = function.point(model)
    assert start is not None
    assert surface.xlim[0] <= start[0] <= surface.xlim[1]
    assert surface.ylim[0] <= start[1] <= surface.ylim[1]
    assert (len(surface.z), len(surface.z[0])) == (len(surface.y), len(surface.x))
    with torch.no_grad():
        model.x.fill_(surface.x[7])
        model.y.fill_(surface.y[40])
    assert function.loss(model, ()).item() == pytest.approx(surface.z[40][7], rel=1e-5)


@given(st.floats(-4, 4), st.floats(-2, 2))
def test_functions_are_never_below_their_minimum(x: float, y: float) -> None:
    for name in ("rosenbrock", "beale", "ellipse"):
        assert workloads.get(name).value(x, y) >= 0


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_missing_scikit_learn_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "hidlr\[workloads\]"'):
        workloads.get(name)
