"""Adapters under the tuner: LoRA and its kin each train, and in the Trainer they equal the loop by hand."""

import functools

import pytest
import torch

import hidlr
from hidlr.integrations import regroup
from support.loops import Run, assert_same_run, batches, by_hand, tiny_bert
from support.traces import assert_equal

peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning"),  # LoRA-GA's
]


def lora(model=None, **options):
    torch.manual_seed(0)  # A is random
    settings = {"task_type": "SEQ_CLS", "r": 2, "lora_alpha": 4, "target_modules": ["query", "value"], **options}
    return peft.get_peft_model(tiny_bert() if model is None else model, peft.LoraConfig(**settings))


def lora_ga():
    model = tiny_bert()
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["query", "value"], init_lora_weights="lora_ga",
        lora_ga_config=peft.LoraGAConfig(),
    )  # fmt: skip
    peft.preprocess_loraga(model, config, lambda: model(**batches()[0])["loss"].backward())
    torch.manual_seed(0)
    return peft.get_peft_model(model, config)


def prompt_tuning():
    torch.manual_seed(0)
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    return peft.get_peft_model(tiny_bert(), config)


VARIANTS = {
    "LoRA": lora,
    "rsLoRA": functools.partial(lora, use_rslora=True),
    "DoRA": functools.partial(lora, use_dora=True),
    "PiSSA": functools.partial(lora, init_lora_weights="pissa"),
    "OLoRA": functools.partial(lora, init_lora_weights="olora"),
    "LoRA-GA": lora_ga,
    "prompt tuning": prompt_tuning,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_trains(name):
    model = VARIANTS[name]()
    by = "role" if name == "prompt tuning" else "lora"
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    groups = hidlr.param_groups(model, by)
    run = by_hand(model, [[batch] for _ in range(4) for batch in batches()], groups=groups, lr=1e-3)
    assert list(run.rates) == {"DoRA": ["lora_A", "lora_B", "lora_magnitude", "head"]}.get(
        name, [group["name"] for group in groups] if by == "role" else ["lora_A", "lora_B", "head"]
    )
    assert len(run.records) > 3
    assert_equal({n: run.parameters[n] for n in frozen}, frozen)
    assert all(not torch.equal(run.parameters[n], value) for n, value in start.items())
    assert all(value.isfinite().all() for value in run.parameters.values())
    model.eval()
    with torch.no_grad():
        after = sum(float(model(**batch)["loss"]) for batch in batches())
        for n, p in model.named_parameters():
            if n in start:
                p.copy_(start[n])
        before = sum(float(model(**batch)["loss"]) for batch in batches())
    assert after < before


def test_lora_plus_keeps_the_ratio_that_it_starts_with():
    from peft.optimizers import create_loraplus_optimizer

    model = lora()
    optimizer = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=16)
    names = regroup(optimizer, model, "lora")
    assert names[:2] == ["lora_A", "lora_B"]
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates["lora_B"] == pytest.approx(16 * rates["lora_A"])
    tuner = hidlr.HiDLR(optimizer, total_steps=16)
    model.train()
    for batch in 2 * batches():
        model(**batch)["loss"].backward()
        optimizer.step()
        tuner.step(lambda batch=batch: model(**batch)["loss"])
        optimizer.zero_grad()
    assert tuner.history[0].phase == "calibrate"
    assert all(rate > 0 for rate in tuner.rates.values())


# -- in the Trainer ----------------------------------------------------------------------------

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from support.trainers import linear, trained, trainer  # noqa: E402


def lora_run(folder, **options):
    return trained(folder, lora(), by="lora", **options)


def lora_by_hand(it, **options):
    model = lora()
    return by_hand(model, it.seen, groups=hidlr.param_groups(model, "lora"), decay=linear(12), **options)


@pytest.mark.covers("PEFT in HF Trainer", "accumulate")
@pytest.mark.covers("PEFT in HF Trainer", "clip")
@pytest.mark.covers("PEFT in HF Trainer", "schedule")
def test_lora_in_the_trainer_equals_the_loop_by_hand(tmp_path):
    it = lora_run(tmp_path, gradient_accumulation_steps=2, max_grad_norm=0.2)
    assert list(it.tuner.rates) == ["lora_A", "lora_B", "head"]
    assert_same_run(Run.of(it.model, it.tuner), lora_by_hand(it, max_norm=0.2))


@pytest.mark.covers("PEFT in HF Trainer", "AMP")
def test_lora_in_bf16_equals_the_loop_by_hand(tmp_path):
    it = lora_run(tmp_path, bf16=True)
    assert_same_run(Run.of(it.model, it.tuner), lora_by_hand(it, max_norm=1.0, autocast=torch.bfloat16))


@pytest.mark.covers("PEFT in HF Trainer", "resume")
def test_an_adapter_resumes_bit_for_bit(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 1, "max_steps": 16, "by": "lora"}
    whole = trained(tmp_path, lora(tiny_bert(dropout=0.2), lora_dropout=0.1), **options)
    again = trainer(tmp_path, lora(tiny_bert(dropout=0.2), lora_dropout=0.1), **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert_equal(dict(again.model.named_parameters()), dict(whole.model.named_parameters()))
    assert_equal(again.tuner.state_dict(), whole.tuner.state_dict())


@pytest.mark.covers("PEFT in HF Trainer", "freeze")
def test_a_frozen_half_of_lora_stays(tmp_path):
    # LoRA-FA: A is as it was drawn.
    model = lora()
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_A" in n}
    it = trained(tmp_path, model, by="lora")
    assert list(it.tuner.rates) == ["lora_B", "head"]
    assert_equal({n: p.detach() for n, p in it.model.named_parameters() if n in before}, before)


def test_a_saved_adapter_is_peft_s(tmp_path):
    it = lora_run(tmp_path)
    it.save_model(str(tmp_path / "adapter"))
    loaded = peft.PeftModel.from_pretrained(tiny_bert(), tmp_path / "adapter").eval()
    it.model.eval()
    with torch.no_grad():
        assert_equal(loaded(**batches()[0])["logits"], it.model(**batches()[0])["logits"])


# -- a real model ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LoRA", "LoRA+", "rsLoRA", "DoRA", "PiSSA", "prompt tuning"])
def test_minilm(name):
    """One smoke test each on all-MiniLM-L6-v2, where it is in the cache."""
    from benchmarks import minilm

    if not minilm.is_fetched():
        pytest.skip("all-MiniLM-L6-v2 is not in the cache: python -m benchmarks fetches it")
    folder = minilm.cache_folder() / "minilm"
    torch.manual_seed(0)
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2, num_hidden_layers=2, local_files_only=True
    )
    options = {"rsLoRA": {"use_rslora": True}, "DoRA": {"use_dora": True}, "PiSSA": {"init_lora_weights": "pissa"}}
    if name == "prompt tuning":
        model = peft.get_peft_model(base, peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4))
    else:
        model = lora(base, r=4, lora_alpha=8, **options.get(name, {}))
    tokens = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    good, bad = "a great and moving film", "a dull and empty mess"
    batch = dict(tokens([good, bad, f"what {good}", f"what {bad}"], padding=True, return_tensors="pt"))
    batch["labels"] = torch.tensor([1, 0, 1, 0])
    groups = hidlr.param_groups(model, "role" if name == "prompt tuning" else "lora", lr=1e-4)
    if name == "LoRA+":
        next(group for group in groups if group["name"] == "lora_B")["lr"] *= 16
    model.eval()  # without dropout the loss of one batch can be compared
    before = model(**batch)["loss"].item()
    optimizer = torch.optim.AdamW(groups)
    tuner = hidlr.HiDLR(optimizer, total_steps=8, every=2)
    for _ in range(8):
        model(**batch)["loss"].backward()
        optimizer.step()
        tuner.step(lambda: model(**batch)["loss"])
        optimizer.zero_grad()
    assert model(**batch)["loss"].item() < before
    assert len(tuner.history) >= 4
