"""A probe leaves nothing behind but the placement, however the closure behaves."""

import copy
import gc
import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import hidlr
from hidlr.engines import AxisEstimator, Fixed, FullEstimator, RandomEstimator
from hidlr.errors import ClosureError, InputError, InputTypeError
from support.engines import Multiply
from support.traces import RandomStates, Trace, assert_equal


class BoomError(Exception):
    pass


def build_model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 6), nn.Tanh(),
            nn.Linear(6, 3),
        )  # fmt: skip
        model[4].weight.requires_grad_(False)
        model[5].eval()
    return model


class Run:
    """A model in the middle of training: state, gradients and running statistics exist."""

    def __init__(self, engine=None, optimizer="adamw"):
        self.model = build_model()
        # The last layer is trained by somebody else.
        groups = [
            {"params": list(self.model[0].parameters()), "name": "first"},
            {"params": list(self.model[1].parameters()), "name": "norm"},
            {"params": list(self.model[4].parameters()), "name": "half frozen"},
        ]
        kinds = {
            "adamw": lambda: torch.optim.AdamW(groups, lr=0.02),
            "momentum": lambda: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
        }
        self.optimizer = kinds[optimizer]()
        self.x, self.y = torch.randn(8, 4), torch.randint(3, (8,))
        for _ in range(2):
            self.backward()
            self.optimizer.step()
        self.tuner = hidlr.HiDLR(self.optimizer, engine=engine)

    def loss(self):
        return F.cross_entropy(self.model(self.x), self.y)

    def backward(self):
        self.optimizer.zero_grad()
        self.loss().backward()

    def step(self):
        self.backward()
        self.optimizer.step()
        return Trace(self.model, self.optimizer)


def misbehave(action, *, before=False):
    """A closure that does something besides computing the loss, after it or before it."""

    def make(run):
        def closure():
            if before:
                action(run)
            loss = run.loss()
            if not before:
                action(run)
            return loss

        return closure

    return make


def draw(run):
    random.random()
    np.random.rand()
    torch.rand(3)
    torch.randperm(5)


def toggle_flags(run):
    for parameter in run.model.parameters():
        parameter.requires_grad_(not parameter.requires_grad)


def replace_buffers(run):
    norm = run.model[1]
    norm.running_mean = norm.running_mean + 1
    norm.num_batches_tracked = None
    norm.running_var.data.mul_(2)


def leave_grad_mode(run):
    torch.set_grad_enabled(True)


def hidden_model(run):
    boxes = [SimpleNamespace(models={"a": [run.model]})]

    def closure():
        return F.cross_entropy(boxes[0].models["a"][0](run.x), run.y)

    return closure


GOOD = {
    "plain": lambda run: run.loss,
    "a list of two": lambda run: [run.loss, run.loss],
    "draws random numbers": misbehave(draw),
    "draws before": misbehave(draw, before=True),
    "calls eval()": misbehave(lambda run: run.model.eval()),
    "calls eval() before": misbehave(lambda run: run.model.eval(), before=True),
    "calls train() before": misbehave(lambda run: run.model.train(), before=True),
    "toggles requires_grad": misbehave(toggle_flags),
    "freezes": misbehave(lambda run: run.model.requires_grad_(False), before=True),
    "clears gradients": misbehave(lambda run: run.model.zero_grad()),
    "clears gradients of the optimizer": misbehave(lambda run: run.optimizer.zero_grad(), before=True),
    "replaces buffers": misbehave(replace_buffers),
    "enables gradients": misbehave(leave_grad_mode, before=True),
    "builds a graph": lambda run: torch.enable_grad()(run.loss),
    "hides the model": hidden_model,
    "runs in inference mode": lambda run: torch.inference_mode()(run.loss),
    "returns nan": lambda run: lambda: run.loss() * float("nan"),
    "returns inf": lambda run: lambda: run.loss() + float("inf"),
}


def call_backward(run):
    with torch.enable_grad():
        run.loss().backward()


def set_gradients(run):
    for parameter in run.model.parameters():
        parameter.grad = torch.ones_like(parameter)


BAD = {
    "raises": (misbehave(lambda run: (_ for _ in ()).throw(BoomError())), BoomError),
    "is interrupted": (misbehave(lambda run: (_ for _ in ()).throw(KeyboardInterrupt())), KeyboardInterrupt),
    "backward": (lambda run: lambda: run.loss().backward(), ClosureError),
    "backward under enable_grad": (misbehave(call_backward), ClosureError),
    "sets gradients": (misbehave(set_gradients), ClosureError),
    "returns a float": (lambda run: lambda: run.loss().item(), InputTypeError),
    "returns a vector": (lambda run: lambda: run.model(run.x), InputError),
    "eval, draws, raises": (
        misbehave(lambda run: [run.model.eval(), draw(run), replace_buffers(run), 1 / 0]),
        ZeroDivisionError,
    ),
}
ENGINES = {
    "axis": lambda: Fixed(1, AxisEstimator()),
    "random": lambda: Fixed(1, RandomEstimator()),
    "full": lambda: Fixed(1, FullEstimator()),
}


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", GOOD)
def test_no_trace(name, engine, optimizer):
    run = Run(ENGINES[engine](), optimizer)
    trace = run.step()
    record = run.tuner.step(GOOD[name](run))
    assert record is not None
    assert record.forwards >= (1 if "returns" in name else 6)
    trace.assert_same()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("engine", [None, Multiply([2.0, 0.25, 1.0], points=[(1.0, 1.0, 1.0), (0.0, 3.0, -1.0)])])
@pytest.mark.parametrize("name", GOOD)
def test_no_trace_but_the_placement(name, engine):
    run = Run(copy.deepcopy(engine))
    start = {p: p.detach().clone() for p in run.model.parameters()}
    trace = run.step()
    end = {p: p.detach().clone() for p in run.model.parameters()}
    record = run.tuner.step(GOOD[name](run))
    trace.assert_same(parameters=False, rates=False)
    xis = {group.name: group.rate_after / group.rate_before for group in record.groups}
    owner = {p: xis[group["name"]] for group in run.optimizer.param_groups for p in group["params"]}
    for parameter in run.model.parameters():
        xi = owner.get(parameter, 1.0)
        placed = torch.lerp(start[parameter].double(), end[parameter].double(), xi)
        torch.testing.assert_close(parameter.detach(), placed.float(), rtol=1e-6, atol=1e-7)
        if xi == 1.0 or parameter not in owner:
            assert_equal(parameter.detach(), end[parameter])
    assert run.tuner.rates == pytest.approx(record.rates, rel=1e-12)


def raising_at(run, call, error):
    calls = []

    def closure():
        calls.append(1)
        if len(calls) == call:
            draw(run)
            run.model.eval()
            raise error
        return run.loss()

    return closure


@pytest.mark.parametrize("engine", [None, "axis", "full"])
@pytest.mark.parametrize("error", [BoomError("here"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_raising_at_any_call_leaves_everything_as_the_base_step_did(engine, error):
    for call in range(1, 60):
        run = Run(ENGINES[engine]() if engine else None)
        rates, state = run.tuner.rates, run.tuner.state_dict()
        trace = run.step()
        caught = []
        try:
            run.tuner.step(raising_at(run, call, error))
        except type(error) as one:
            caught.append(one)
        if not caught:
            break
        assert caught == [error]
        trace.assert_same()
        assert run.tuner.rates == rates
        assert len(run.tuner.history) == 0
        assert run.tuner.state_dict()["tuned"] == state["tuned"]
        assert run.tuner.step(run.loss) is None  # the step is dealt with
        run.step()
        assert run.tuner.step(run.loss) is not None  # and the next goes on as usual
    assert call > 7, "the closure was called more often than that"


@pytest.mark.parametrize("engine", [None, "axis"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_at_any_call_raises_nothing(bad, engine):
    for call in range(1, 60):
        run = Run(ENGINES[engine]() if engine else None)
        trace = run.step()
        calls = []

        def closure(run=run, calls=calls, call=call):
            calls.append(1)
            return run.loss() + (bad if len(calls) == call else 0.0)

        record = run.tuner.step(closure)
        trace.assert_same(parameters=engine is not None, rates=engine is not None)
        assert all(torch.isfinite(p).all() for p in run.model.parameters())
        assert all(0 < rate < float("inf") for rate in run.tuner.rates.values())
        if call <= 2:  # the base point, and its repetition
            assert record.note == f"the loss is {bad}"
            trace.assert_same()
        if len(calls) < call:
            break
    assert call > 7, "the closure was called more often than that"


@pytest.mark.parametrize("engine", [None, "axis"])
@pytest.mark.parametrize("name", BAD)
def test_no_trace_of_a_closure_that_fails(name, engine):
    closure, error = BAD[name]
    run = Run(ENGINES[engine]() if engine else None)
    trace = run.step()
    with pytest.raises(error):
        run.tuner.step(closure(run))
    trace.assert_same()
    assert torch.is_grad_enabled()
    assert len(run.tuner.history) == 0
    assert nn.modules.module._global_forward_pre_hooks == {}


def test_gradients_keep_accumulating_across_a_probe():
    # The optimizer did not clear them; the next backward adds to the same tensors.
    run = Run(Fixed(1))
    run.step()
    first = run.model[0].weight.grad
    before = first.clone()
    run.tuner.step(run.loss)
    run.loss().backward()
    assert run.model[0].weight.grad is first
    assert not torch.equal(first, before)


def test_a_graph_that_saved_a_buffer_can_still_run_backward():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].eval()
    optimizer = torch.optim.SGD(model[1].parameters(), lr=0.1)
    tuner = hidlr.HiDLR(optimizer, engine=Fixed(1))
    x = torch.randn(4, 3, requires_grad=True)
    kept = model[0](x).sum()
    loss = (model(x) ** 2).sum()
    loss.backward()
    x.grad = None
    optimizer.step()
    tuner.step(lambda: (model(x) ** 2).sum())
    kept.backward()
    # Running variance 1 and weight 1: the derivative is 1 / sqrt(1 + eps).
    torch.testing.assert_close(x.grad, torch.full((4, 3), (1 + 1e-5) ** -0.5), rtol=1e-6, atol=0)


def test_parameters_without_a_gradient_are_not_even_written():
    used, unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([{"params": [used, unused], "name": "a"}], lr=0.1)
    tuner = hidlr.HiDLR(optimizer, engine=Multiply([2.0]))
    version = unused._version
    (used**2).sum().backward()
    optimizer.step()
    tuner.step(lambda: (used**2).sum())
    assert unused._version == version
    assert unused.grad is None


def test_no_copies_of_the_parameters_are_held_between_steps():
    run = Run(Fixed(1))
    for _ in range(2):
        run.step()
        displacement = weakref.ref(run.tuner._displacement)
        run.tuner.step(run.loss)
        gc.collect()
        assert displacement() is None


# -- training as a whole ------------------------------------------------------------------------


class Residual(nn.Module):
    """Attention with dropout and a buffer that changes as it runs."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
        self.head = nn.Linear(8, 7)
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    def forward(self, tokens):
        self.seen += 1
        return self.head(self.layer(self.embedding(tokens))).flatten(0, 1)


def mlp_batch():
    return torch.randn(6, 4), torch.randint(3, (6,))


def image_batch():
    return torch.randn(6, 1, 6, 6), torch.randint(3, (6,))


def token_batch():
    return torch.randint(7, (3, 5)), torch.randint(7, (15,))


MODELS = {
    "mlp": (build_model, mlp_batch),
    "convnet": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(48, 3)
        ),
        image_batch,
    ),
    "transformer": (Residual, token_batch),
}
OPTIMIZERS = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=0.01),
    "adamw fused": lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=True),
}


def train(model, batch, optimizer, *, tuned, steps=6):
    """Returns everything training leaves behind; batches, dropout and shuffling draw from the global states."""
    torch.manual_seed(11)
    random.seed(5)
    np.random.seed(6)
    groups = [{"params": [p], "name": name} for name, p in model.named_parameters()]
    optimizer = optimizer(groups)
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=Fixed(every=1)) if tuned else None
    losses = []
    for _ in range(steps):
        x, y = batch()
        x = x[torch.as_tensor(np.random.permutation(len(x)))] if random.random() < 0.5 else x
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        if tuner is not None:
            record = tuner.step(lambda x=x, y=y: F.cross_entropy(model(x), y))
            assert record.forwards > len(groups)
    states = RandomStates.take()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "losses": losses,
        "torch": states.torch,
        "python": list(states.python[1]),
        "numpy": [states.numpy[1].tolist(), *states.numpy[2:]],
        "grads": [p.grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_training_at_fixed_rates_is_bit_identical_to_training_without(name, optimizer):
    build, batch = MODELS[name]
    model = build()
    twin = copy.deepcopy(model)
    plain = train(twin, batch, OPTIMIZERS[optimizer], tuned=False)
    assert_equal(train(model, batch, OPTIMIZERS[optimizer], tuned=True), plain)
