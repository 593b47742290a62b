"""A loop prepared by Accelerate against the loop written out by hand, bit for bit."""

from itertools import islice

import pytest
import torch

import hidlr
from hidlr.errors import InputError, InputTypeError
from support.loops import Classifier, Run, assert_same_run, batches, by_hand
from support.traces import assert_equal

accelerate = pytest.importorskip("accelerate")

from accelerate.state import AcceleratorState, GradientState  # noqa: E402

from hidlr.integrations import AcceleratedHiDLR  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_state():
    """Accelerate keeps its settings in singletons."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def loss_of(model, batch):
    return model(**batch)["loss"]


class Loop:
    """The usual loop; `run` goes on for a number of micro-batches."""

    def __init__(self, *, accumulate=1, precision="no", max_norm=None, decay=None, dropout=0.0, steps=24, **options):
        self.accelerator = accelerate.Accelerator(
            cpu=True,
            gradient_accumulation_steps=accumulate,
            mixed_precision=precision,
            step_scheduler_with_optimizer=True,
        )
        model = Classifier(dropout)
        optimizer = torch.optim.AdamW(hidlr.param_groups(model, "role"), lr=1e-3, weight_decay=0.0)
        rows = [dict(zip(b, row, strict=True)) for b in batches() for row in zip(*b.values(), strict=True)]
        loader = torch.utils.data.DataLoader(rows, batch_size=8)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)
        self.scheduler = None
        if decay is not None:
            self.scheduler = self.accelerator.prepare(torch.optim.lr_scheduler.LambdaLR(self.optimizer, decay))
            options["scheduler"] = self.scheduler
        self.max_norm = max_norm
        self.tuner = AcceleratedHiDLR(self.accelerator, self.optimizer, total_steps=steps, **options)

    def run(self, epochs, first=0):
        self.model.train()
        for _ in range(epochs):
            for batch in islice(self.loader, first, None):
                with self.accelerator.accumulate(self.model):
                    self.accelerator.backward(loss_of(self.model, batch))
                    if self.max_norm is not None and self.accelerator.sync_gradients:
                        self.tuner.clip_grad_norm_(self.model.parameters(), self.max_norm)
                    self.optimizer.step()
                    self.tuner.step(loss_of, self.model, batch)
                    if self.scheduler is not None:
                        self.scheduler.step()
                    self.optimizer.zero_grad()
            first = 0
        return self

    @property
    def result(self):
        return Run.of(self.accelerator.unwrap_model(self.model), self.tuner.tuner)


def micro(size, epochs):
    """Micro-batches by optimizer step: the last step of an epoch may have fewer."""
    rows = batches()
    return [rows[i : i + size] for _ in range(epochs) for i in range(0, len(rows), size)]


@pytest.mark.covers("Accelerate", "accumulate")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_equals_the_loop_by_hand(accumulate):
    steps = micro(accumulate, 3)
    loop = Loop(accumulate=accumulate, steps=len(steps)).run(3)
    expected = by_hand(Classifier(), steps, loss=lambda m, b: loss_of(m, b) / accumulate)
    assert_same_run(loop.result, expected)
    assert len(loop.tuner.tuner.history) > 1


@pytest.mark.covers("Accelerate", "AMP")
def test_bf16_equals_the_loop_by_hand():
    loop = Loop(precision="bf16").run(3)
    # The forward pass alone is within autocast, and its outputs are turned into float32.
    assert_same_run(loop.result, by_hand(Classifier(), micro(1, 3), autocast=torch.bfloat16))


@pytest.mark.covers("Accelerate", "clip")
def test_clipping_equals_the_loop_by_hand():
    loop = Loop(max_norm=0.3, accumulate=2, steps=12).run(3)
    expected = by_hand(Classifier(), micro(2, 3), loss=lambda m, b: loss_of(m, b) / 2, max_norm=0.3)
    assert_same_run(loop.result, expected)


@pytest.mark.covers("Accelerate", "schedule")
def test_a_prepared_scheduler_equals_the_loop_by_hand():
    def decay(step):
        return 1 / (1 + step / 8)

    assert_same_run(Loop(decay=decay).run(3).result, by_hand(Classifier(), micro(1, 3), decay=decay))


@pytest.mark.covers("Accelerate", "resume")
@pytest.mark.parametrize("epochs", [1, 2], ids=["while rates are sought", "later"])
def test_save_state_and_load_state_go_on_bit_for_bit(tmp_path, epochs):
    whole = Loop(dropout=0.3, decay=lambda step: 1 - step / 24, every=3).run(epochs)
    whole.accelerator.save_state(str(tmp_path))
    whole.run(3 - epochs)
    AcceleratorState._reset_state(reset_partial_state=True)
    again = Loop(dropout=0.3, decay=lambda step: 1 - step / 24, every=3)
    again.accelerator.load_state(str(tmp_path))
    again.run(3 - epochs)
    assert_equal(dict(again.result.parameters), dict(whole.result.parameters))
    assert_equal(again.tuner.state_dict(), whole.tuner.state_dict())
    assert again.result.records == whole.result.records[-len(again.result.records) :]
    assert again.result.records


@pytest.mark.covers("Accelerate", "freeze")
def test_parameters_frozen_on_the_way_stay():
    loop = Loop(every=2).run(1)
    model = loop.accelerator.unwrap_model(loop.model)
    model.embedding.requires_grad_(False)
    at = model.embedding.weight.detach().clone()
    loop.run(2)
    assert torch.equal(model.embedding.weight, at)
    assert loop.tuner.tuner.history[-1].step > 20


def test_a_plain_tuner_serves_without_accumulation():
    loop = Loop()
    plain = Loop()
    plain.tuner.tuner.detach()
    tuner = hidlr.HiDLR(plain.optimizer, total_steps=24)
    for _ in range(3):
        for batch in plain.loader:
            plain.accelerator.backward(loss_of(plain.model, batch))
            plain.optimizer.step()
            tuner.step(lambda batch=batch: loss_of(plain.model, batch))
            plain.optimizer.zero_grad()
    assert_same_run(Run.of(plain.model, tuner), loop.run(3).result)


def test_incomplete_accumulation_takes_no_step():
    loop = Loop(accumulate=4)
    batch = next(iter(loop.loader))
    with loop.accelerator.accumulate(loop.model):
        loop.accelerator.backward(loss_of(loop.model, batch))
        loop.optimizer.step()
        assert loop.tuner.step(loss_of, loop.model, batch) is None
    assert loop.tuner.state_dict()["taken"] == 0


def test_the_published_rule():
    loop = Loop(build=hidlr.HiDLR.paper, every=4).run(1)
    assert len(loop.tuner.tuner.history) == 2


def test_no_accelerator():
    with pytest.raises(InputTypeError, match="takes an Accelerator first, not AdamW"):
        AcceleratedHiDLR(torch.optim.AdamW(Classifier().parameters()), None)


@pytest.mark.refuses("Accelerate", "DeepSpeed")
@pytest.mark.parametrize(("kind", "message"), [("DEEPSPEED", "inside backward"), ("MEGATRON_LM", "MEGATRON_LM")])
def test_what_cannot_be_followed_is_refused(monkeypatch, kind, message):
    accelerator = accelerate.Accelerator(cpu=True)
    monkeypatch.setattr(accelerator.state, "distributed_type", accelerate.DistributedType(kind))
    with pytest.raises(InputError, match=message):
        AcceleratedHiDLR(accelerator, torch.optim.AdamW(Classifier().parameters()), total_steps=3)
