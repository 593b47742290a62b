"""The Trainer against the loop written out by hand, bit for bit; what it cannot do is refused."""

import copy
import functools
import json
import warnings

import pytest
import torch

import hidlr
from hidlr.errors import InputError, StateError
from support.loops import Classifier, Run, assert_same_run, by_hand, examples, tiny_bert
from support.traces import assert_equal
from support.trainers import linear, trained, trainer

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from hidlr.integrations import HiDLRMixin  # noqa: E402

FIVE = int(transformers.__version__.partition(".")[0]) >= 5

# -- equal to the loop by hand -----------------------------------------------------------------


@pytest.mark.covers("HF Trainer", "clip")
@pytest.mark.parametrize("max_norm", [0.05, 100.0])
def test_equals_the_loop_by_hand(tmp_path, max_norm):
    model = tiny_bert()
    it = trained(tmp_path, max_grad_norm=max_norm)
    assert_same_run(Run.of(it.model, it.tuner), by_hand(model, it.seen, max_norm=max_norm, decay=linear(12)))
    assert len(it.tuner.history) > 2


@pytest.mark.covers("HF Trainer", "accumulate")
@pytest.mark.parametrize("build", [tiny_bert, Classifier], ids=["scaled by the model", "scaled by the Trainer"])
def test_accumulation_equals_the_loop_by_hand(tmp_path, build):
    # 64 rows, 3 micro-batches of 8: the last step of an epoch has fewer.
    model = build()
    it = trained(tmp_path, build(), gradient_accumulation_steps=3)
    assert [len(micro) for micro in it.seen] == [3, 3, 2] * 4
    if build is tiny_bert and FIVE:
        expected = by_hand(model, it.seen, max_norm=1.0, decay=linear(12))
    else:

        def scaled(model, batch):
            loss = model(input_ids=batch["input_ids"], labels=batch["labels"])["loss"]
            return loss / next(len(own) for own in it.seen if any(batch is other for other in own))

        expected = by_hand(model, it.seen, loss=scaled, max_norm=1.0, decay=linear(12))
    assert_same_run(Run.of(it.model, it.tuner), expected)


@pytest.mark.covers("HF Trainer", "AMP")
def test_bf16_equals_the_loop_by_hand(tmp_path):
    model = tiny_bert()
    it = trained(tmp_path, bf16=True)
    expected = by_hand(model, it.seen, max_norm=1.0, decay=linear(12), autocast=torch.bfloat16)
    assert_same_run(Run.of(it.model, it.tuner), expected)


@pytest.mark.skipif(not FIVE, reason="transformers 4 smooths each micro-batch by itself")
def test_label_smoothing_equals_the_loop_by_hand(tmp_path):
    from transformers.trainer_pt_utils import LabelSmoother

    model, smoother = tiny_bert(), LabelSmoother(0.2)
    it = trained(tmp_path, label_smoothing_factor=0.2, gradient_accumulation_steps=2)
    expected = by_hand(
        model,
        it.seen,
        loss=lambda m, b: smoother(m(input_ids=b["input_ids"]), b["labels"], num_items_in_batch=16),
        max_norm=1.0,
        decay=linear(12),
    )
    assert_same_run(Run.of(it.model, it.tuner), expected)


def test_evaluation_and_checkpoints_in_between_change_nothing(tmp_path):
    plain = trained(tmp_path / "plain")
    busy = trained(
        tmp_path / "busy", eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=3,
        eval_dataset=examples(16),
    )  # fmt: skip
    assert_same_run(Run.of(busy.model, busy.tuner), Run.of(plain.model, plain.tuner))


# -- schedules ---------------------------------------------------------------------------------


@pytest.mark.covers("HF Trainer", "schedule")
@pytest.mark.parametrize(
    "kind",
    ["linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt"],
)
def test_rates_are_the_tuned_ones_times_the_schedule(tmp_path, kind):
    options = {"warmup_steps": 3} if kind in ("linear", "constant_with_warmup", "inverse_sqrt") else {}
    it = trained(tmp_path, lr_scheduler_type=kind, max_steps=10, **options)
    reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)  # the rate polynomial's floor is of
    factors = transformers.get_scheduler(kind, reference, num_warmup_steps=options.get("warmup_steps", 0),
                                         num_training_steps=10).lr_lambdas[0]  # fmt: skip
    for log in it.state.log_history[:-1]:
        probes = [record for record in it.tuner.history if record.step == log["step"] - 1]
        for record in probes:
            assert record.factor == pytest.approx(factors(record.step), rel=1e-6)
    for group in it.optimizer.param_groups:
        assert group["lr"] == pytest.approx(group["initial_lr"] * factors(10), rel=1e-9)
        assert group["initial_lr"] != 1e-3  # tuned: the schedule is of something


def test_reduce_on_plateau_is_composed_with(tmp_path):
    it = trained(
        tmp_path, lr_scheduler_type="reduce_lr_on_plateau", lr_scheduler_kwargs={"patience": 0, "factor": 0.5},
        eval_strategy="steps", eval_steps=1, eval_dataset=examples(8), metric_for_best_model="loss",
    )  # fmt: skip
    assert all(rate > 0 for rate in it.tuner.rates.values())


# -- logs --------------------------------------------------------------------------------------


def test_logs_have_the_rate_of_each_group(tmp_path):
    it = trained(tmp_path, by="bias")
    logs = [log for log in it.state.log_history if "learning_rate" in log]
    assert len(logs) == 12
    by_step = {record.step: record for record in it.tuner.history}
    for log in logs:
        own = {key.partition("/")[2]: rate for key, rate in log.items() if key.startswith("learning_rate/")}
        assert list(own) == ["bias", "rest"]
        assert own["bias"] == log["learning_rate"]  # the Trainer's own is the first group's
        if record := by_step.get(log["step"] - 1):
            assert own == pytest.approx(record.rates)


# -- checkpoints -------------------------------------------------------------------------------


@pytest.mark.covers("HF Trainer", "resume")
@pytest.mark.parametrize("at", [5, 8], ids=["within an epoch", "between epochs"])
def test_resuming_is_bit_equal_to_no_pause(tmp_path, at):
    options = {"gradient_accumulation_steps": 1, "save_strategy": "steps", "save_steps": 1, "max_steps": 20}
    whole = trained(tmp_path, tiny_bert(dropout=0.2), **options)
    again = trainer(tmp_path, tiny_bert(dropout=0.2), **options)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{at}"))
    assert any(record.step >= at for record in again.tuner.history)
    late = [record.step for record in whole.tuner.history if record.step >= at]
    assert [record.step for record in again.tuner.history] == late
    assert_equal(dict(again.model.named_parameters()), dict(whole.model.named_parameters()))
    assert_equal(again.tuner.state_dict(), whole.tuner.state_dict())
    assert_equal(again.optimizer.state_dict(), whole.optimizer.state_dict())
    assert again.state.log_history[:-1] == whole.state.log_history[:-1]


def test_a_checkpoint_without_the_tuner_is_refused(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 4, "max_steps": 4}
    trained(tmp_path, **options)
    (tmp_path / "checkpoint-4" / "hidlr.pt").unlink()
    with pytest.raises(StateError, match="without hidlr"):
        trainer(tmp_path, **options).train(resume_from_checkpoint=True)


def test_a_damaged_state_is_refused(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 4, "max_steps": 4}
    trained(tmp_path, **options)
    path = tmp_path / "checkpoint-4" / "hidlr.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match=r"hidlr\.pt is damaged"):
        trainer(tmp_path, **options).train(resume_from_checkpoint=True)


def test_the_state_is_small_and_safe(tmp_path):
    it = trained(tmp_path, save_strategy="steps", save_steps=12)
    state = torch.load(tmp_path / "checkpoint-12" / "hidlr.pt", weights_only=True)
    assert_equal(state, it.tuner.state_dict())


# -- models, optimizers, subclasses ------------------------------------------------------------


@pytest.mark.covers("HF Trainer", "freeze")
def test_parameters_frozen_before_and_during_training(tmp_path):
    class Freeze(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, model, **kwargs):
            if state.global_step == 6:
                self.at = {n: p.detach().clone() for n, p in model.bert.encoder.named_parameters()}
                model.bert.encoder.requires_grad_(False)

    model, freeze = tiny_bert(), Freeze()
    model.bert.embeddings.requires_grad_(False)
    before = {name: p.detach().clone() for name, p in model.bert.embeddings.named_parameters()}
    it = trained(tmp_path, model, callbacks=[freeze], build=functools.partial(hidlr.HiDLR, every=2))
    assert "embedding" not in it.tuner.rates
    assert_equal({n: p.detach() for n, p in model.bert.embeddings.named_parameters()}, before)
    assert_equal({n: p.detach() for n, p in model.bert.encoder.named_parameters()}, freeze.at)
    assert it.tuner.history[-1].step >= 8


def test_an_optimizer_of_one_s_own_keeps_its_groups(tmp_path):
    model = tiny_bert()
    optimizer = torch.optim.SGD(hidlr.param_groups(model, {"head": "classifier.*", "rest": "*"}), lr=1e-2, momentum=0.9)
    it = trained(tmp_path, model, optimizers=(optimizer, None))
    assert list(it.tuner.rates) == ["head", "rest"]


def test_weight_decay_stays_off_biases_and_norms(tmp_path):
    it = trained(tmp_path, weight_decay=0.1, max_steps=2)
    decays = {group["name"]: group["weight_decay"] for group in it.optimizer.param_groups}
    assert decays["head"] == 0.1
    assert decays["head:weight_decay=0.0"] == decays["bias"] == decays["norm"] == 0.0


def test_any_subclass_of_trainer_takes_the_mixin(tmp_path):
    class Halved(transformers.Trainer):
        def compute_loss(self, *args, **kwargs):
            return super().compute_loss(*args, **kwargs) / 2

    class Mine(HiDLRMixin, Halved):
        def get_batch_samples(self, *args, **kwargs):
            found = super().get_batch_samples(*args, **kwargs)
            seen.append(copy.deepcopy(found[0]))
            return found

    model, seen = tiny_bert(), []
    it = trained(tmp_path, kind=Mine)
    expected = by_hand(model, seen, loss=lambda m, b: m(**b)["loss"] / 2, max_norm=1.0, decay=linear(12))
    assert_same_run(Run.of(it.model, it.tuner), expected)


def test_train_may_be_called_again(tmp_path):
    it = trained(tmp_path)
    first = it.tuner
    it.train()
    assert it.tuner is not first
    assert it.tuner.state_dict()["taken"] == 12
    assert first.state_dict()["taken"] == 12  # its hooks are gone


def test_the_published_rule_can_be_asked_for(tmp_path):
    it = trained(tmp_path, build=functools.partial(hidlr.HiDLR.paper, every=3))
    assert it.tuner.history[0].phase != "calibrate"


def test_a_run_without_probes_in_the_way_of_warnings(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", hidlr.HidlrWarning)
        trained(tmp_path)


# -- what is refused ---------------------------------------------------------------------------


def test_deepspeed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.Trainer, "is_deepspeed_enabled", True, raising=False)
    monkeypatch.setattr(transformers.Trainer, "create_accelerator_and_postprocess", _with("is_deepspeed_enabled", True))
    with pytest.raises(InputError, match="DeepSpeed"):
        trainer(tmp_path)


def test_fsdp_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(transformers.Trainer, "create_accelerator_and_postprocess", _with("is_fsdp_enabled", True))
    with pytest.raises(InputError, match="FSDP"):
        trainer(tmp_path)


def _with(name, value):
    original = transformers.Trainer.create_accelerator_and_postprocess

    def patched(self):
        original(self)
        setattr(self, name, value)

    return patched


def test_an_optimizer_that_sets_its_own_rate_is_refused(tmp_path):
    with pytest.raises(hidlr.UnsupportedOptimizerError, match="Adafactor"):
        trained(tmp_path, optim="adafactor")


@pytest.mark.skipif(not FIVE, reason="transformers 4 has none")
def test_a_scheduler_that_torch_does_not_know_is_refused(tmp_path):
    with pytest.raises(hidlr.InputTypeError, match="lr_scheduler"):
        trained(tmp_path, lr_scheduler_type="greedy", eval_strategy="steps", eval_dataset=examples(8))


def test_the_checkpoint_s_log_is_json(tmp_path):
    trained(tmp_path, save_strategy="steps", save_steps=12)
    state = json.loads((tmp_path / "checkpoint-12" / "trainer_state.json").read_text())
    assert "learning_rate/head" in state["log_history"][0]
