import re
import warnings

import pytest
import pytorch_optimizer
import torch
from torch import nn

import hidlr
from hidlr import compatibility
from hidlr.compatibility import check_groups, check_optimizer, momentum_of
from hidlr.errors import HidlrError, HidlrWarning, InputError, InputTypeError, UnsupportedOptimizerError
from support.optimizers import EACH_VARIANT


def parameters(*shapes):
    return [nn.Parameter(torch.ones(shape)) for shape in shapes or [(2, 2)]]


def fake(name, **keys):
    """An optimizer of a package that is not installed here: its class name and its groups' keys."""

    def init(self, params):
        torch.optim.Optimizer.__init__(self, params, {"lr": 1.0, **keys})

    return type(name, (torch.optim.Optimizer,), {"__init__": init})


OWN_RATE = "sets its own rate.*use it without hidlr, or pass"
REFUSED = {
    "torch Adafactor": (lambda: torch.optim.Adafactor(parameters()), "not proportional to lr.*pass AdamW"),
    "transformers Adafactor": (lambda: fake("Adafactor", relative_step=True)(parameters()), "pass AdamW"),
    "pytorch_optimizer AdaFactor": (lambda: pytorch_optimizer.AdaFactor(parameters()), "pass AdamW"),
    "LBFGS": (lambda: torch.optim.LBFGS(parameters()), "line search of its own: pass SGD or AdamW"),
    "Rprop": (lambda: torch.optim.Rprop(parameters()), OWN_RATE),
    "ASGD": (lambda: torch.optim.ASGD(parameters()), "pass SGD"),
    "SparseAdam": (lambda: torch.optim.SparseAdam(parameters()), "sparse=False"),
    "Prodigy": (lambda: pytorch_optimizer.Prodigy(parameters()), OWN_RATE),
    "prodigyopt": (lambda: fake("Prodigy", d=1e-6, d0=1e-6, d_coef=1.0)(parameters()), OWN_RATE),
    "a renamed Prodigy": (lambda: fake("MyOptimizer", d=1e-6, d0=1e-6, d_coef=1.0)(parameters()), OWN_RATE),
    "D-Adaptation": (lambda: pytorch_optimizer.DAdaptAdam(parameters()), OWN_RATE),
    "dadaptation SGD": (lambda: fake("DAdaptSGD", d=1e-6)(parameters()), OWN_RATE),
    "dadaptation Lion": (lambda: fake("DAdaptLion", d=1e-6)(parameters()), OWN_RATE),
    "a subclass of one": (lambda: type("Mine", (pytorch_optimizer.DAdaptSGD,), {})(parameters()), OWN_RATE),
    "Schedule-Free": (lambda: pytorch_optimizer.ScheduleFreeAdamW(parameters()), "Schedule-Free.*plain counterpart"),
    "schedulefree": (lambda: fake("AdamWScheduleFree")(parameters()), "Schedule-Free averages its iterates"),
    "Schedule-Free wrapper": (
        lambda: pytorch_optimizer.ScheduleFreeWrapper(torch.optim.SGD(parameters(), lr=1.0)),
        "Schedule-Free",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_optimizers_that_cannot_be_tuned_are_refused_with_a_reason(name):
    build, reason = REFUSED[name]
    optimizer = build()
    with pytest.raises(UnsupportedOptimizerError, match=f"{type(optimizer).__name__} cannot be tuned.*{reason}"):
        hidlr.HiDLR(optimizer)
    with pytest.raises(UnsupportedOptimizerError):
        hidlr.HiDLR.paper(optimizer)
    with pytest.raises(TypeError):  # for those who know nothing of hidlr's errors
        check_optimizer(optimizer)
    assert not optimizer._optimizer_step_pre_hooks
    assert issubclass(UnsupportedOptimizerError, HidlrError)


def test_an_optimizer_without_a_rate_is_refused():
    optimizer = torch.optim.SGD(parameters(), lr=0.1)
    del optimizer.param_groups[0]["lr"]
    with pytest.raises(UnsupportedOptimizerError, match="SGD cannot be tuned: its group 0 has no lr"):
        hidlr.HiDLR(optimizer)


@EACH_VARIANT
def test_every_row_of_the_table_is_accepted(row, variant):
    optimizer = row.build([{"params": parameters((2, 3)), "name": "a"}], **variant)
    assert check_optimizer(optimizer) is optimizer


@pytest.mark.parametrize("thing", [None, nn.Linear(1, 1), [nn.Parameter(torch.ones(1))], torch.optim.SGD])
def test_not_an_optimizer(thing):
    with pytest.raises(InputTypeError, match=rf"torch.optim.Optimizer, not {type(thing).__name__}.*param_groups"):
        hidlr.HiDLR(thing)


def test_a_wrapped_optimizer_is_opened():
    inner = torch.optim.SGD(parameters(), lr=0.1)

    class Wrapper(torch.optim.Optimizer):  # as Accelerate does
        def __init__(self, optimizer):
            self.optimizer = optimizer

        @property
        def param_groups(self):
            return self.optimizer.param_groups

    assert check_optimizer(Wrapper(inner)) is inner
    assert check_optimizer(Wrapper(Wrapper(inner))) is inner


def test_maximizing_is_refused():
    optimizer = torch.optim.SGD(parameters(), lr=0.1, maximize=True)
    with pytest.raises(InputError, match=r"group 0 maximizes.*maximize=False and the negated objective"):
        hidlr.HiDLR(optimizer)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), -float("inf")])
def test_a_rate_that_cannot_be(rate):
    optimizer = torch.optim.SGD([{"params": parameters(), "name": "head"}], lr=0.1)
    optimizer.param_groups[0]["lr"] = rate
    with pytest.raises(InputError, match=f"group 'head' has lr={rate}: give a finite rate.*at least 0"):
        hidlr.HiDLR(optimizer)


def test_groups_that_share_a_parameter():
    first, second = parameters((2,), (3,))
    optimizer = torch.optim.SGD([{"params": [first], "name": "a"}, {"params": [second], "name": "b"}], lr=0.1)
    optimizer.param_groups[1]["params"].append(first)  # torch checks this in its constructor alone
    with pytest.raises(InputError, match=r"groups 0 and 1 share a parameter of shape \(2,\).*one group"):
        hidlr.HiDLR(optimizer)


def names_given(*names):
    groups = [{"params": parameters((1,)), **({} if name is None else {"name": name})} for name in names]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    check_groups(optimizer)
    return [group["name"] for group in optimizer.param_groups]


def test_good_names_stay_without_a_word():
    assert names_given("head", "body") == ["head", "body"]


def test_a_single_unnamed_group_needs_no_word():
    assert names_given(None) == ["all"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((None, None), ["group_0", "group_1"]),
        (("a", "a", "a"), ["a", "a_2", "a_3"]),
        (("a", "a", "a_2"), ["a", "a_3", "a_2"]),
        (("a", "", 3), ["a", "group_1", "group_2"]),
        ((None, "group_0"), ["group_0_2", "group_0"]),
    ],
)
def test_unnamed_and_repeated_groups_are_named_and_reported(names, expected):
    with pytest.warns(HidlrWarning, match=r"were named \(.*->.*\).*hidlr.param_groups or a 'name' key") as caught:
        assert names_given(*names) == expected
    assert len(caught) == 1


def test_the_tuner_uses_the_given_names():
    with pytest.warns(HidlrWarning, match="0: None -> 'group_0', 1: None -> 'group_1'"):
        tuner = hidlr.HiDLR(torch.optim.SGD([{"params": p} for p in parameters((1,), (2,))], lr=0.1))
    assert tuner.rates == {"group_0": 0.1, "group_1": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the names are in the groups now
        hidlr.HiDLR(tuner._optimizer)


def test_sparse_gradients_are_refused_before_anything_moves():
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    before = embedding.weight.detach().clone()
    hidlr.HiDLR(optimizer)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(UnsupportedOptimizerError, match=r"shape \(5, 2\) has a sparse gradient.*sparse=False"):
        optimizer.step()
    assert torch.equal(embedding.weight, before)


def test_groups_added_later_are_refused():
    optimizer = torch.optim.SGD(parameters(), lr=0.1)
    tuner = hidlr.HiDLR(optimizer)
    optimizer.add_param_group({"params": parameters((3,))})
    with pytest.raises(InputError, match=r"2 groups, HiDLR was built with 1: add groups .* before building"):
        _ = tuner.rates


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), (0.0, 1.0)),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.75), (0.75, 4.0)),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5, nesterov=True), (0.5, 2.0)),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.75, dampening=0.75), (0.75, 1.0)),
        (lambda p: torch.optim.AdamW(p, lr=0.1), (0.9, 1.0)),
        (lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.0, 0.9)), (0.0, 1.0)),
        (lambda p: torch.optim.RMSprop(p, lr=0.1), (0.0, 1.0)),
        (lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.5), (0.5, 2.0)),
        (lambda p: torch.optim.Adagrad(p, lr=0.1), (0.0, 1.0)),
        (lambda p: torch.optim.Muon(p, lr=0.1, momentum=0.95), (0.95, 1.0)),
    ],
)
def test_how_a_step_remembers_earlier_ones(make, expected):
    optimizer = make([torch.nn.Parameter(torch.zeros(2, 2))])
    assert momentum_of(optimizer.param_groups[0]) == pytest.approx(expected)


@pytest.mark.parametrize("name", compatibility.REFUSED)
def test_every_refused_name_is_refused_with_its_words(name):
    optimizer = fake(name.capitalize())(parameters())
    with pytest.raises(UnsupportedOptimizerError, match=re.escape(compatibility.REFUSED[name])):
        hidlr.HiDLR(optimizer)


def stepped(kind, factor):
    """The move of a fourth step at ``factor`` times the rate of those before, and the state after it."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(5, 4, dtype=torch.float64))
    target = torch.randn(5, 4, dtype=torch.float64)
    optimizer = kind([parameter], lr=0.01)
    for step in range(4):
        optimizer.zero_grad()
        ((parameter - target) ** 2 * torch.arange(1.0, 5.0)).sum().backward()
        if step == 3:
            optimizer.param_groups[0]["lr"] *= factor
        before = parameter.detach().clone()
        optimizer.step()
    state = [value for value in optimizer.state.get(parameter, {}).values() if isinstance(value, torch.Tensor)]
    return parameter.detach() - before, torch.cat([torch.zeros(1), *(value.double().flatten() for value in state)])


@pytest.mark.parametrize("name", ["AccSGD", "AdaMod", "Amos", "FTRL", "Fromage", "LaProp", "Nero", "SPlus"])
def test_what_is_refused_for_its_step_has_no_step_proportional_to_the_rate(name):
    kind = getattr(pytorch_optimizer, name)
    (move, state), (longer, other) = stepped(kind, 1.0), stepped(kind, 3.0)
    proportional = torch.allclose(longer, 3 * move, rtol=1e-6)
    untouched = state.shape == other.shape and torch.allclose(state, other, rtol=1e-9, equal_nan=True)
    assert not (proportional and untouched)
