"""Published peers: each trains a small network, says what it needs, and leaves the model as it found it."""

import copy
import sys

import pytest
import torch
from benchmarks.peers import HEURISTICS, PEERS, get, names
from torch import nn

import hidlr
from hidlr.errors import InputError, MissingExtraError

MODULES = {
    "prodigyopt": "prodigyopt",
    "dadaptation": "dadaptation",
    "mechanic-pytorch": "mechanic_pytorch",
    "dog-optimizer": "dog",
    "schedulefree": "schedulefree",
    "pytorch_optimizer": "pytorch_optimizer",
}
STEPS = 120
# DoG starts at a millionth of the parameters' norm and grows from there, whatever the problem.
SLOW_STARTERS = {"dog": 600, "ldog": 600}
PAIRS = [(name, base) for name, peer in PEERS.items() for base in peer.applies_to]
EACH_PAIR = pytest.mark.parametrize(("name", "base"), PAIRS, ids=[f"{name}-{base}" for name, base in PAIRS])
# At its package's default rates LARS moves matrices by a millionth of their norm a step.
STANDS_STILL = {"lars"}

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] * X[:, 1] > 0).long()


class Attention(nn.Module):
    """One attention layer, whose fused kernel cannot be differentiated twice."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, 8)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        h = self.embed(x.reshape(-1, 4, 2))
        return self.head(self.mix(h, h, h, need_weights=False)[0].mean(1))


def mlp(norm=nn.Identity):
    return nn.Sequential(nn.Linear(8, 32), norm(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))


def start(name, base, model, steps=STEPS, decay=0.01, rate=None):
    pytest.importorskip(MODULES[PEERS[name].package])
    return get(name).build(model, hidlr.param_groups(model, by="role"), base, steps, decay, rate)


def batch_loss(model, step, size=64):
    rows = torch.arange(step * size, (step + 1) * size) % len(X)
    return nn.functional.cross_entropy(model(X[rows]), Y[rows])


def run(peer, model, steps):
    return [peer.step(lambda step=step: batch_loss(model, step)) for step in range(steps)]


def judged(peer, model):
    peer.before_evaluate([lambda: model(X)] * peer.forwards_before_evaluate)
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(X), Y).item()
    peer.after_evaluate()
    return loss


@EACH_PAIR
def test_every_peer_trains(name, base, capsys):
    model = mlp()
    steps = SLOW_STARTERS.get(name, STEPS)
    peer = start(name, base, model, steps)
    before = judged(peer, model)
    losses = run(peer, model, steps)
    after = judged(peer, model)
    assert len(losses) == steps
    assert all(loss < 10 for loss in losses)
    assert after < before - (0.0 if name in STANDS_STILL else 0.01)
    assert peer.rate > 0
    assert capsys.readouterr().out == ""


@EACH_PAIR
def test_evaluation_leaves_no_trace(name, base):
    model = mlp()
    twin = copy.deepcopy(model)
    watched, alone = start(name, base, model), start(name, base, twin)
    torch.manual_seed(3)
    first = []
    for step in range(6):
        first.append(watched.step(lambda step=step: batch_loss(model, step)))
        judged(watched, model)
    torch.manual_seed(3)
    second = run(alone, twin, 6)
    # Schedule-Free goes back and forth by arithmetic.
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if name == "schedulefree" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(first, second, **tolerance)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


@pytest.mark.parametrize("name", ["dog", "ldog"])
def test_dog_is_judged_at_the_average(name):
    model = mlp()
    peer = start(name, "sgd", model)
    run(peer, model, 20)
    here = [p.detach().clone() for p in model.parameters()]
    peer.before_evaluate()
    assert any(not torch.equal(p, own) for p, own in zip(model.parameters(), here, strict=True))
    peer.after_evaluate()
    for parameter, own in zip(model.parameters(), here, strict=True):
        torch.testing.assert_close(parameter, own, rtol=0, atol=0)


@pytest.mark.parametrize(("name", "base"), [("adahessian", "adamw"), ("sophia", "adamw")])
def test_curvature_goes_through_attention_and_frees_its_graph(name, base):
    model = Attention()
    peer = start(name, base, model)
    assert PEERS[name].needs_graph
    due = []
    for step in range(12):
        due.append(peer.graph_due)
        peer.step(lambda step=step: batch_loss(model, step))
        assert all(p.grad is None or p.grad.grad_fn is None for p in model.parameters())
    assert due == ([True] * 12 if name == "adahessian" else [True, *[False] * 9, True, False])


@EACH_PAIR
def test_a_loss_that_is_not_finite_changes_nothing(name, base):
    model = mlp()
    peer = start(name, base, model)
    run(peer, model, 2)
    here = [p.detach().clone() for p in model.parameters()]
    assert peer.step(lambda: batch_loss(model, 0) * float("inf")) == float("inf")
    for parameter, own in zip(model.parameters(), here, strict=True):
        torch.testing.assert_close(parameter, own, rtol=0, atol=0)


@EACH_PAIR
def test_a_parameter_that_the_loss_does_not_use(name, base):
    model = mlp()
    model.register_parameter("spare", nn.Parameter(torch.ones(3)))
    peer = start(name, base, model, decay=0.0)
    run(peer, model, 3)
    torch.testing.assert_close(model.spare.detach(), torch.ones(3))


def test_batch_normalisation_is_treated_as_documented():
    model = mlp(nn.BatchNorm1d)
    dog = start("dog", "sgd", model)
    assert dog.optimizer.param_groups[0]["reps_rel"] == 1e-4
    run(dog, model, 3)
    assert judged(dog, model) > 0

    model = mlp(nn.BatchNorm1d)
    free = start("schedulefree", "adamw", model)
    assert free.forwards_before_evaluate == 50
    run(free, model, 3)
    with pytest.raises(InputError, match="50 closures"):
        free.before_evaluate()
    stale = model[1].running_mean.clone()
    state = torch.get_rng_state()
    judged(free, model)
    assert not torch.equal(stale, model[1].running_mean)
    assert torch.equal(state, torch.get_rng_state())
    run(free, model, 1)


def test_schedules_are_those_documented():
    rates = {}
    for name in ("prodigy", "dadapt", "lamb"):
        model = mlp()
        peer = start(name, "adamw", model, steps=4)
        seen = []
        for step in range(4):
            peer.step(lambda step=step, model=model: batch_loss(model, step))
            seen.append(peer.optimizer.param_groups[0]["lr"] / peer.task.rate)
        rates[name] = seen
    assert rates["dadapt"] == rates["lamb"] == [1.0, 0.75, 0.5, 0.25]
    assert rates["prodigy"] == pytest.approx([1.0, 0.85355, 0.5, 0.14645], abs=1e-4)


def test_a_peer_that_is_tuned_takes_another_rate():
    peer = start("lamb", "adamw", mlp(), rate=0.02)
    assert peer.optimizer.param_groups[0]["lr"] == 0.02


def test_mistakes_are_named(monkeypatch):
    with pytest.raises(InputError, match="did you mean 'prodigy'"):
        get("prodgy")
    with pytest.raises(InputError, match="prodigy stands beside adamw"):
        get("prodigy").build(mlp(), [], "lion", 1, 0.0)
    model = mlp()
    for name, peer in PEERS.items():
        monkeypatch.setitem(sys.modules, MODULES[peer.package], None)
        with pytest.raises(MissingExtraError, match=r"hidlr\[bench\]"):
            get(name).build(model, hidlr.param_groups(model, by="all"), peer.applies_to[0], 1, 0.0)


def test_names_by_base_optimizer():
    assert names() == tuple(PEERS)
    assert names("muon") == ("mechanic",)
    assert set(names("lion")) == {"dadapt", "mechanic"}


# -- rules of thumb ---------------------------------------------------------------------------------


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(3))
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


def test_layers_decay_away_from_the_head():
    assert dict(HEURISTICS["layer_decay_0.8"].on(Blocks())) == pytest.approx(
        {"embedding": 0.8**4, "layer_0": 0.8**3, "layer_1": 0.8**2, "layer_2": 0.8, "head": 1.0}
    )
    assert dict(HEURISTICS["ulmfit"].on(Blocks()))["layer_1"] == pytest.approx(2.6**-2)


def test_towers_are_counted_each_from_its_own_top():
    rule = HEURISTICS["layer_decay_0.65"]
    group_names = ["embedding", "encoder.layer_0", "encoder.layer_1", "encoder.final", "decoder.layer_0", "head"]
    assert dict(rule.multipliers(group_names)) == pytest.approx(
        {
            "embedding": 0.65**3,
            "encoder.layer_0": 0.65**2,
            "encoder.layer_1": 0.65,
            "encoder.final": 1.0,
            "decoder.layer_0": 0.65,
            "head": 1.0,
        }
    )


def test_one_group_at_a_multiple():
    model = Blocks()
    assert HEURISTICS["bias_x2"].on(model) == (("bias", 2.0), ("rest", 1.0))
    assert HEURISTICS["bias_x10"].on(model) == (("bias", 10.0), ("rest", 1.0))
    assert HEURISTICS["head_x10"].on(model) == (("head", 10.0), ("rest", 1.0))
    assert HEURISTICS["lora_plus"].multipliers(["lora_A", "lora_B", "head"]) == (
        ("lora_A", 1.0),
        ("lora_B", 16.0),
        ("head", 1.0),
    )


def test_a_rule_that_does_not_apply_says_so():
    assert HEURISTICS["lora_plus"].on(Blocks()) is None
    assert HEURISTICS["bias_x2"].on(nn.Linear(3, 2, bias=False)) is None
    assert HEURISTICS["layer_decay_0.8"].on(nn.Linear(3, 2)) is None
    assert HEURISTICS["lora_plus"].multipliers(["lora_B", "head"]) is None


@pytest.mark.parametrize("name", HEURISTICS)
def test_multipliers_name_every_group_once_in_order(name):
    rule = HEURISTICS[name]
    multipliers = rule.on(Blocks())
    if multipliers is not None:
        groups = hidlr.param_groups(Blocks(), by=rule.grouping)
        assert [group for group, _ in multipliers] == [group["name"] for group in groups]
        assert all(factor > 0 for _, factor in multipliers)
