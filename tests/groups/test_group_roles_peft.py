"""Roles and groups of models that PEFT has wrapped."""

from typing import Any

import hf_models as hf
import pytest
import torch
from torch import nn

from hidlr.groups import param_groups, role_of

peft = pytest.importorskip("peft")

# peft 0.21 asks transformers 5.23 for a property that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def wrapped(**options: Any) -> nn.Module:
    options = {"r": 2, "target_modules": ["query", "value"], **options}
    model: nn.Module = peft.get_peft_model(hf.bert(), peft.LoraConfig(task_type="SEQ_CLS", **options))
    return model


def trainable_roles(model: nn.Module) -> dict[str, str]:
    roles = role_of(model)
    return {name: roles[name] for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_adapters_and_the_saved_head() -> None:
    expected = {
        "base_model.model.classifier.modules_to_save.default.weight": "head",
        "base_model.model.classifier.modules_to_save.default.bias": "head",
    }
    for i in range(2):
        for layer in ("query", "value"):
            path = f"base_model.model.bert.encoder.layer.{i}.attention.self.{layer}"
            expected[f"{path}.lora_A.default.weight"] = "lora_A"
            expected[f"{path}.lora_B.default.weight"] = "lora_B"
    assert trainable_roles(wrapped()) == expected


def test_frozen_parameters_have_the_roles_of_the_model_below() -> None:
    below = role_of(hf.bert())
    above = role_of(wrapped())
    for name, role in below.items():
        plain = "base_model.model." + name
        owner, _, attribute = plain.rpartition(".")
        places = [plain, f"{owner}.base_layer.{attribute}", f"{owner}.original_module.{attribute}"]
        assert [above[place] for place in places if place in above] == [role]


def test_embedding_adapters_and_magnitudes() -> None:
    roles = trainable_roles(wrapped(target_modules=["word_embeddings", "dense"], use_dora=True))
    words = "base_model.model.bert.embeddings.word_embeddings"
    assert roles[f"{words}.lora_embedding_A.default"] == "lora_A"
    assert roles[f"{words}.lora_embedding_B.default"] == "lora_B"
    pooler = "base_model.model.bert.pooler.dense"
    assert roles[f"{pooler}.lora_A.default.weight"] == "lora_A"
    assert roles[f"{pooler}.lora_magnitude_vector.default.weight"] == "lora_magnitude"
    assert set(roles.values()) == {"lora_A", "lora_B", "lora_magnitude", "head"}


def test_trained_biases_keep_their_role() -> None:
    roles = trainable_roles(wrapped(bias="all"))
    layer = "base_model.model.bert.encoder.layer.0"
    assert roles[f"{layer}.attention.self.query.base_layer.bias"] == "bias"
    assert roles[f"{layer}.output.dense.bias"] == "bias"
    assert roles[f"{layer}.output.LayerNorm.bias"] == "norm"


def test_groups_for_lora_plus() -> None:
    groups = {group["name"]: group for group in param_groups(wrapped(), "lora")}
    assert list(groups) == ["lora_A", "lora_B", "head"]
    assert all(".lora_A.default.weight" in name for name in groups["lora_A"]["param_names"])
    assert [len(group["params"]) for group in groups.values()] == [4, 4, 2]


def test_the_rest_beside_lora() -> None:
    model = wrapped(bias="all", use_dora=True)
    assert [group["name"] for group in param_groups(model, "lora")] == [
        "lora_A",
        "lora_B",
        "lora_magnitude",
        "head",
        "rest",
    ]


def test_layers_hold_their_adapters() -> None:
    groups = param_groups(wrapped(), "layer")
    assert [(group["name"], len(group["params"])) for group in groups] == [("layer_0", 4), ("layer_1", 4), ("head", 2)]


def test_the_saved_head_is_the_head() -> None:
    [first, rest] = param_groups(wrapped(), "head")
    assert (first["name"], rest["name"]) == ("head", "rest")
    assert all(".modules_to_save." in name for name in first["param_names"])


def test_one_training_step_moves_the_adapters_only() -> None:
    model = wrapped()
    optimizer = torch.optim.AdamW(param_groups(model, "lora", weight_decay=0.0), lr=0.1)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([1])).loss.backward()
    optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    trained = {name for group in optimizer.param_groups for name in group["param_names"]}
    # A has no gradient at first, since B starts at zero.
    assert moved == {name for name in trained if ".lora_A." not in name}
