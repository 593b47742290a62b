"""The Lightning callback against the loop written out by hand, bit for bit, in both kinds of optimisation."""

import copy
import functools
import math

import pytest
import torch

import hidlr
from hidlr.errors import InputError
from support.loops import Classifier, Run, assert_same_run, batches, by_hand
from support.traces import assert_equal

pytest.importorskip("lightning")
# Lightning's own: its use of torch, and advice for larger runs than these.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

import lightning.pytorch as pl  # noqa: E402

from hidlr.integrations import HiDLRCallback  # noqa: E402


class Module(pl.LightningModule):
    def __init__(self, *, manual=0, decay=None, names=False, dropout=0.0):
        super().__init__()
        self.model = Classifier(dropout)
        self.automatic_optimization = manual == 0
        self.manual, self.decay, self.names = manual, decay, names

    def loss(self, batch):
        return self.model(**batch)["loss"]

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.log("loss", loss)
        if self.automatic_optimization:
            return loss
        self.manual_backward(loss / self.manual)
        if (batch_idx + 1) % self.manual == 0:
            optimizer = self.optimizers()
            optimizer.step()
            optimizer.zero_grad()
            if self.decay is not None:
                self.lr_schedulers().step()
        return None

    def configure_optimizers(self):
        groups = hidlr.param_groups(self, "role") if self.names else self.parameters()
        optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.0)
        if self.decay is None:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.decay)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rows():
    return torch.utils.data.DataLoader(
        [dict(zip(b, row, strict=True)) for b in batches() for row in zip(*b.values(), strict=True)],
        batch_size=8,
    )


def loss_fn(module, batch):
    return module.loss(batch) / (module.manual or 1)


def fitted(tmp_path, module=None, *, callbacks=(), epochs=3, ckpt_path=None, logger=False, options=None, **settings):
    module = Module() if module is None else module
    callback = HiDLRCallback(loss_fn, **(options or {}))
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=logger, default_root_dir=tmp_path,
        enable_checkpointing=any(isinstance(c, pl.callbacks.ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False, enable_model_summary=False, callbacks=[callback, *callbacks], **settings,
    )  # fmt: skip
    trainer.fit(module, rows(), ckpt_path=ckpt_path)
    return module, callback, trainer


def micro(size, epochs=3):
    data = batches()
    return [data[i : i + size] for _ in range(epochs) for i in range(0, len(data), size)]


def result(module, callback):
    return Run.of(module.model, callback.tuner)


# Lightning hands a closure to optimizer.step, which may run the backward pass (in manual optimisation it does nothing,
# but who could know), so the slope of the way back is measured instead of taken from the gradient: by hand, the same.
def closure_loop(model, steps, share=1, **options):
    return by_hand(model, steps, differentiated_inside=True, loss=lambda m, b: m(**b)["loss"] / share, **options)


@pytest.mark.covers("Lightning, automatic", "accumulate")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_automatic_equals_the_loop_by_hand(tmp_path, accumulate):
    module, callback, _ = fitted(tmp_path, accumulate_grad_batches=accumulate)
    expected = closure_loop(Classifier(), micro(accumulate), accumulate)
    assert_same_run(result(module, callback), expected)


@pytest.mark.covers("Lightning, manual", "accumulate")
@pytest.mark.parametrize("accumulate", [1, 4])
def test_manual_equals_the_loop_by_hand(tmp_path, accumulate):
    module, callback, _ = fitted(tmp_path, Module(manual=accumulate))
    total = 24  # Lightning cannot know that there are fewer steps than batches
    expected = closure_loop(Classifier(), micro(accumulate), accumulate, total=total)
    assert_same_run(result(module, callback), expected)


@pytest.mark.covers("Lightning, automatic", "AMP")
def test_bf16_equals_the_loop_by_hand(tmp_path):
    module, callback, _ = fitted(tmp_path, precision="bf16-mixed")
    assert_same_run(result(module, callback), closure_loop(Classifier(), micro(1), autocast=torch.bfloat16))


@pytest.mark.covers("Lightning, manual", "AMP")
def test_manual_bf16_equals_the_loop_by_hand(tmp_path):
    module, callback, _ = fitted(tmp_path, Module(manual=1), precision="bf16-mixed")
    assert_same_run(result(module, callback), closure_loop(Classifier(), micro(1), autocast=torch.bfloat16))


@pytest.mark.covers("Lightning, automatic", "clip")
def test_clipping_equals_the_loop_by_hand(tmp_path):
    module, callback, _ = fitted(tmp_path, gradient_clip_val=0.3)
    assert_same_run(result(module, callback), closure_loop(Classifier(), micro(1), max_norm=0.3))


@pytest.mark.covers("Lightning, manual", "clip")
def test_clipping_by_hand_is_noticed_at_the_first_step(tmp_path):
    class Clipped(Module):
        def training_step(self, batch, batch_idx):
            self.manual_backward(self.loss(batch))
            self.clip_gradients(self.optimizers(), gradient_clip_val=0.01, gradient_clip_algorithm="norm")
            self.optimizers().step()
            self.optimizers().zero_grad()

    _, callback, _ = fitted(tmp_path, Clipped(manual=1))
    assert callback.tuner.state_dict()["engine"]["state"]["trust_slopes"] is False
    assert len(callback.tuner.history) > 2


@pytest.mark.covers("Lightning, automatic", "schedule")
def test_a_scheduler_equals_the_loop_by_hand(tmp_path):
    def decay(step):
        return 1 / (1 + step / 8)

    module, callback, _ = fitted(tmp_path, Module(decay=decay, names=True))
    assert_same_run(result(module, callback), closure_loop(Classifier(), micro(1), decay=decay))


@pytest.mark.covers("Lightning, manual", "schedule")
def test_a_scheduler_stepped_by_hand(tmp_path):
    def decay(step):
        return 1 / (1 + step / 8)

    module, callback, _ = fitted(tmp_path, Module(decay=decay, names=True, manual=1))
    assert_same_run(result(module, callback), closure_loop(Classifier(), micro(1), decay=decay))


@pytest.mark.refuses("Lightning, automatic", "schedule over unnamed groups")
def test_a_scheduler_over_unnamed_groups_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"hidlr\.param_groups"):
        fitted(tmp_path, Module(decay=lambda step: 1.0))


@pytest.mark.covers("Lightning, automatic", "resume")
@pytest.mark.parametrize("epoch", [1, 3], ids=["while rates are sought", "later"])
def test_resuming_is_bit_equal_to_no_pause(tmp_path, epoch):
    _resume(tmp_path, epoch, manual=0)


@pytest.mark.covers("Lightning, manual", "resume")
def test_resuming_manual_optimisation(tmp_path):
    _resume(tmp_path, 2, manual=1)


def _resume(tmp_path, epoch, manual):
    def saving():
        return pl.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="{epoch}", save_top_k=-1)

    options = {"build": functools.partial(hidlr.HiDLR, every=2)}
    decay = lambda step: 1 - step / 40  # noqa: E731
    module, callback, _ = fitted(
        tmp_path, Module(decay=decay, names=True, manual=manual), epochs=4, callbacks=[saving()], options=options
    )
    again, other, _ = fitted(
        tmp_path, Module(decay=decay, names=True, manual=manual), epochs=4, options=options,
        ckpt_path=tmp_path / f"epoch={epoch - 1}.ckpt", callbacks=[saving()],
    )  # fmt: skip
    assert_equal(dict(again.named_parameters()), dict(module.named_parameters()))
    assert_equal(other.tuner.state_dict(), callback.tuner.state_dict())
    assert len(other.tuner.history) == len([r for r in callback.tuner.history if r.step >= 8 * epoch]) > 0


@pytest.mark.covers("Lightning, automatic", "freeze")
@pytest.mark.covers("Lightning, manual", "freeze")
@pytest.mark.parametrize("manual", [0, 1])
def test_frozen_before_and_on_the_way(tmp_path, manual):
    class Freeze(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                pl_module.model.hidden.requires_grad_(False)
                self.at = copy.deepcopy(pl_module.model.hidden.state_dict())

    module, freeze = Module(manual=manual), Freeze()
    module.model.embedding.requires_grad_(False)
    before = module.model.embedding.weight.detach().clone()
    _, callback, _ = fitted(
        tmp_path, module, callbacks=[freeze], options={"build": functools.partial(hidlr.HiDLR, every=2)}
    )
    assert torch.equal(module.model.embedding.weight, before)
    assert_equal(dict(module.model.hidden.state_dict()), dict(freeze.at))
    assert callback.tuner.history[-1].step > 20
    assert "frozen" in callback.tuner.rates


def test_the_learning_rate_monitor_shows_each_group(tmp_path):
    logger = pl.loggers.CSVLogger(tmp_path)
    monitor = pl.callbacks.LearningRateMonitor("step")
    _, callback, _ = fitted(tmp_path, callbacks=[monitor], logger=logger, log_every_n_steps=1)
    shown = [f"lr-AdamW/{name}" for name in callback.tuner.rates]
    metrics = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert set(shown) <= set(metrics[0].split(","))
    assert len({monitor.lrs[name][-1] for name in shown}) > 1


def test_validation_and_logging_in_between_change_nothing(tmp_path):
    class Validated(Module):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", self.loss(batch))

        def val_dataloader(self):
            return rows()

    logger = pl.loggers.CSVLogger(tmp_path)
    module, callback, _ = fitted(tmp_path, Validated(), val_check_interval=3, logger=logger, log_every_n_steps=1)
    plain, other, _ = fitted(tmp_path)
    assert_same_run(result(module, callback), result(plain, other))


def test_a_second_fit_starts_anew(tmp_path):
    module, callback, _ = fitted(tmp_path, epochs=1)
    first = callback.tuner
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, callbacks=[callback])  # fmt: skip
    trainer.fit(module, rows())
    assert callback.tuner is not first
    assert first.state_dict()["taken"] == callback.tuner.state_dict()["taken"] == 8


def test_a_run_of_unknown_length_has_no_horizon(tmp_path):
    _, callback, trainer = fitted(tmp_path, epochs=-1, max_steps=-1, max_time={"seconds": 1}, limit_train_batches=2)
    assert math.isinf(trainer.estimated_stepping_batches)
    assert callback.tuner.state_dict()["taken"] > 0


@pytest.mark.refuses("Lightning, automatic", "several optimizers")
def test_several_optimizers_are_refused(tmp_path):
    class Two(Module):
        def configure_optimizers(self):
            return [torch.optim.SGD(self.model.embedding.parameters(), lr=0.1),
                    torch.optim.SGD(self.model.hidden.parameters(), lr=0.1)]  # fmt: skip

    with pytest.raises(InputError, match="2 optimizers: hidlr follows one loss"):
        fitted(tmp_path, Two(manual=1))


@pytest.mark.parametrize(("name", "message"), [("DeepSpeedStrategy", "DeepSpeed"), ("FSDPStrategy", "FSDPStrategy")])
def test_strategies_that_cannot_be_followed(name, message):
    from hidlr.integrations.lightning import _only

    class Trainer:
        strategy = type(name, (), {})()

    with pytest.raises(InputError, match=message):
        _only(Trainer())
