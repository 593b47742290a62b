"""suggest_groups on quadratics whose optimal rates are known, and that it leaves no trace."""

import itertools

import pytest
import torch
from torch import nn

import hidlr
from support.models import mlp, trained
from support.quadratic import Quadratic
from support.traces import Trace


def blocks(curvatures, sizes, influence=None):
    """H_k = h_k I: the optimum of descent is 1 / h_k in every group, at every step; the influence is given."""
    influence = influence or [1.0] * len(sizes)
    hessian = torch.block_diag(*(h * torch.eye(size) for h, size in zip(curvatures, sizes, strict=True)))
    parts = [
        abs(h * ppi) ** 0.5 * torch.tensor([1.0, -1.0]).repeat(size)[:size]
        for h, ppi, size in zip(curvatures, influence, sizes, strict=True)
    ]
    return Quadratic(hessian, torch.cat(parts), sizes, offset=1.0)


def partition(found):
    return {frozenset(group.param_names) for group in found.groups}


def names(*groups):
    return {frozenset(f"parts.{k}" for k in group) for group in groups}


def suggest(model, **options):
    options = {"by": "tensor", **options}
    return hidlr.suggest_groups(model, model, torch.optim.SGD(model.parameters(), lr=1e-3), **options)


def test_groups_of_equal_optimum_merge_and_others_do_not():
    model = blocks([1.0, 10.0, 1.0, 0.1, 10.0], [3, 2, 5, 4, 1])
    found = suggest(model)
    assert partition(found) == names((0, 2), (1, 4), (3,))
    rates = {frozenset(group.param_names): group.rate for group in found.groups}
    assert rates[frozenset({"parts.0", "parts.2"})] == pytest.approx(1.0, rel=0.01)
    assert rates[frozenset({"parts.1", "parts.4"})] == pytest.approx(0.1, rel=0.01)
    assert rates[frozenset({"parts.3"})] == pytest.approx(10.0, rel=0.01)
    assert found.relative[found.groups[0].name] == pytest.approx(1.0, rel=0.01)
    assert all(group.spread < 0.01 for group in found.groups)
    assert (found.measured, found.unmeasured) == (5, 0)


def test_influence_keeps_equal_optima_apart_while_there_is_room():
    model = blocks([1.0, 1.0, 30.0], [2, 2, 2], influence=[1.0, 1e4, 1.0])
    found = suggest(model)
    assert partition(found) == names((0,), (1,), (2,))
    # The gradient has shrunk a little by the second half of the run.
    assert found.groups[1].ppi == pytest.approx(1e4, rel=0.15)
    assert partition(suggest(model, max_groups=2)) == names((0, 1), (2,))


@pytest.mark.parametrize("at_most", range(1, 9))
def test_no_more_groups_than_asked_for(at_most):
    model = blocks([4.0**k for k in range(-4, 4)], [2] * 8)
    found = suggest(model, max_groups=at_most)
    assert len(found.groups) == at_most
    assert sorted(name for group in found.groups for name in group.param_names) == [f"parts.{k}" for k in range(8)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_any_order_of_the_parameters_gives_the_same_partition(order):
    curvatures, sizes = [1.0, 9.0, 1.2, 0.05], [3, 2, 5, 4]
    expected = partition(suggest(blocks(curvatures, sizes)))
    found = suggest(blocks([curvatures[k] for k in order], [sizes[k] for k in order]))
    assert {frozenset(f"parts.{order[int(name[6:])]}" for name in group) for group in partition(found)} == expected
    model = blocks(curvatures, sizes)
    shuffled = torch.optim.SGD([model.parts[k] for k in order], lr=1e-3)
    assert partition(hidlr.suggest_groups(model, model, shuffled, by="tensor")) == expected


def decayed(model):
    """The usual two sets of options."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-3, betas=(0.8, 0.9)
    )


def test_options_are_kept_for_every_parameter_and_never_mixed():
    task = mlp()
    optimizer = decayed(task.model)
    expected = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    found = hidlr.suggest_groups(task.model, task.closure, optimizer, max_groups=2)
    assert len(found.groups) == 2
    again = torch.optim.AdamW(found.param_groups)
    assert {id(p): group["weight_decay"] for group in again.param_groups for p in group["params"]} == expected
    assert all(group["betas"] == (0.8, 0.9) and group["lr"] == 1e-3 for group in again.param_groups)
    with pytest.raises(hidlr.InputError, match=r"max_groups=1.*weight_decay.*max_groups=2"):
        hidlr.suggest_groups(task.model, task.closure, optimizer, max_groups=1)


def test_changing_what_is_returned_changes_nothing_else():
    task = mlp()
    found = hidlr.suggest_groups(task.model, task.closure, torch.optim.AdamW(task.model.parameters(), lr=1e-3))
    found.param_groups[0]["lr"] = 7.0
    found.param_groups[0]["params"].clear()
    assert found.param_groups[0]["lr"] == 1e-3
    assert found.param_groups[0]["params"]


def test_groups_do_not_share_a_tensor_rate():
    model = blocks([1.0, 10.0], [2, 3])
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(1e-3))
    first, second = hidlr.suggest_groups(model, model, optimizer, by="tensor").param_groups
    assert first["lr"] == second["lr"] == optimizer.param_groups[0]["lr"]
    assert len({id(rate) for rate in (first["lr"], second["lr"], optimizer.param_groups[0]["lr"])}) == 3


def test_a_group_that_stands_still_keeps_to_itself():
    model = blocks([1.0, 10.0, 1.0], [2, 3, 4])
    first, *rest = model.parts
    optimizer = torch.optim.SGD([{"params": [first], "lr": 0.0}, {"params": rest}], lr=1e-3)
    found = hidlr.suggest_groups(model, model, optimizer, by="tensor", max_groups=2)
    assert partition(found) == names((0,), (1, 2))
    still = found.groups[0]
    assert (still.rate, still.ppi, still.unmeasured) == (None, None, ("parts.0",))
    assert found.param_groups[0]["lr"] == 0.0
    assert "1 too noisy to tell" in str(found)


def test_no_trace_is_left():
    model, optimizer, closure = trained(decayed)
    model.norm.eval()
    before = Trace(model, optimizer)
    found = hidlr.suggest_groups(model, [closure, closure], optimizer, by="tensor")
    before.assert_same()
    assert sum(group.size for group in found.groups) == sum(p.numel() for p in model.parameters())


def test_no_trace_is_left_by_a_closure_that_raises():
    model, optimizer, closure = trained(decayed)
    calls = []

    def failing():
        calls.append(0)
        if len(calls) == 70:
            raise KeyError("data")
        return closure()

    before = Trace(model, optimizer)
    with pytest.raises(KeyError, match="data"):
        hidlr.suggest_groups(model, failing, optimizer, by="tensor")
    before.assert_same()


def test_the_groups_work_with_the_tuner_and_come_back_from_a_file():
    task = mlp()
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-3)
    found = hidlr.suggest_groups(task.model, task.closure, optimizer, by="tensor", max_groups=3)
    optimizer = torch.optim.AdamW(found.param_groups)
    tuner = hidlr.HiDLR(optimizer, total_steps=10)
    before = task.closure().item()
    for _ in range(10):
        task.closure().backward()
        optimizer.step()
        tuner.step(task.closure)
        optimizer.zero_grad()
    assert task.closure().item() < before
    assert list(tuner.rates) == found.names
    again = hidlr.param_groups(task.model, by=found.by)
    assert [(g["name"], set(g["param_names"])) for g in again] == [
        (g["name"], set(g["param_names"])) for g in found.param_groups
    ]


def test_frozen_parameters_and_those_the_optimizer_has_not_are_left_out():
    task = mlp()
    task.model[0].bias.requires_grad_(False)
    held = [*task.model[0].parameters(), *task.model[2].parameters()]
    found = hidlr.suggest_groups(task.model, task.closure, torch.optim.AdamW(held, lr=1e-3), by="tensor")
    assert {name for group in found.groups for name in group.param_names} == {"0.weight", "2.weight", "2.bias"}


def test_the_table_says_it_all():
    model = blocks([1.0, 10.0, 1.0, 0.1], [3, 2, 5, 4])
    text = str(suggest(model))
    assert all(f"parts.{k}" in text for k in range(4))
    head, _, *rows, caption = text.splitlines()
    assert head.split("  ")[0] == "group"
    assert len(rows) == 3
    assert "4 fine groups measured" in caption


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_groups": 0}, "max_groups=0"),
        ({"steps": 0}, "steps=0"),
        ({"probes": 0}, "probes=0"),
        ({"by": "x"}, "by='x'"),
    ],
)
def test_bad_options(options, named):
    with pytest.raises(hidlr.InputError, match=named):
        suggest(blocks([1.0, 2.0], [1, 1]), **options)


def test_bad_input():
    model, other = blocks([1.0, 2.0], [1, 1]), nn.Linear(2, 3)
    with pytest.raises(hidlr.InputError, match=r"shape \(3, 2\).*not the model's"):
        hidlr.suggest_groups(model, model, torch.optim.SGD(other.parameters(), lr=0.1))
    with pytest.raises(hidlr.InputError, match="every lr 0"):
        hidlr.suggest_groups(model, model, torch.optim.SGD(model.parameters(), lr=0.0), by="tensor")
    with pytest.raises(hidlr.InputTypeError, match="float"):
        hidlr.suggest_groups(model, 3.0, torch.optim.SGD(model.parameters(), lr=0.1))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(hidlr.InputError, match="no trainable"):
        hidlr.suggest_groups(model, model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_no_optimum_anywhere():
    model = blocks([-1.0, -2.0], [2, 2])
    with pytest.raises(hidlr.InputError, match="not convex"):
        suggest(model)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.norm = nn.Embedding(12, 8), nn.LayerNorm(8)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        return self.head(self.norm(self.embedding(ids).mean(1)))


def test_tied_parameters_are_in_one_group():
    model, ids = Tied(), torch.randint(12, (32, 4))
    closure = lambda: nn.functional.cross_entropy(model(ids), ids[:, 0])  # noqa: E731
    found = hidlr.suggest_groups(model, closure, torch.optim.AdamW(model.parameters(), lr=1e-3), by="tensor")
    assert sorted(name for group in found.groups for name in group.param_names) == [
        "embedding.weight", "norm.bias", "norm.weight",
    ]  # fmt: skip
    assert torch.optim.AdamW(found.param_groups)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_adapters_alone():
    peft = pytest.importorskip("peft")
    from support.loops import batches, tiny_bert

    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    model = peft.get_peft_model(tiny_bert(dropout=0.1), config).train()
    data = batches()
    closures = [lambda batch=batch: model(**batch)["loss"] for batch in data]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    before = Trace(model, optimizer)
    found = hidlr.suggest_groups(model, closures, optimizer, max_groups=3)
    before.assert_same()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for group in found.groups for name in group.param_names} == trained
    assert len(found.groups) <= 3
    assert hidlr.HiDLR(torch.optim.AdamW(found.param_groups)).rates == dict.fromkeys(found.names, 1e-2)
