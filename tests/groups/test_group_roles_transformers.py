"""Roles in transformers models; every table is written by hand from the architecture, and holds all parameters."""

from collections.abc import Callable

import group_models as models
import hf_models as hf
import pytest
from torch import nn

from hidlr.groups import role_of

Table = dict[str, str]


def linear(*names: str, role: str) -> Table:
    return {f"{n}.weight": role for n in names} | {f"{n}.bias": "bias" for n in names}


def weights(*names: str, role: str) -> Table:
    return {f"{name}.weight": role for name in names}


def norm(*names: str) -> Table:
    return {f"{name}.{part}": "norm" for name in names for part in ("weight", "bias")}


def head(*names: str) -> Table:
    return {f"{name}.{part}": "head" for name in names for part in ("weight", "bias")}


def layers(prefix: str, *tables: Table) -> Table:
    return {f"{prefix}.{i}.{name}": role for i in range(2) for table in tables for name, role in table.items()}


BERT_LAYERS = (
    linear("attention.self.query", "attention.self.key", "attention.self.value", role="attention"),
    linear("attention.output.dense", role="attention"),
    norm("attention.output.LayerNorm", "output.LayerNorm"),
    linear("intermediate.dense", "output.dense", role="mlp"),
)
EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")


def bert_table(prefix: str) -> Table:
    return {
        **weights(*(f"{prefix}.embeddings.{name}" for name in EMBEDDINGS), role="embedding"),
        **norm(f"{prefix}.embeddings.LayerNorm"),
        **layers(f"{prefix}.encoder.layer", *BERT_LAYERS),
    }


# The pooler belongs to the pretrained model: no head.
BERT = {**bert_table("bert"), **linear("bert.pooler.dense", role="mlp"), **head("classifier")}
BARE_BERT = {name.removeprefix("bert."): role for name, role in BERT.items() if "classifier" not in name}
BERT_QA = {**bert_table("bert"), **head("qa_outputs")}
BERT_LM = {
    **bert_table("bert"),
    **head("cls.predictions.transform.dense"),
    **norm("cls.predictions.transform.LayerNorm"),
    "cls.predictions.bias": "head",
}
ROBERTA = {**bert_table("roberta"), **head("classifier.dense", "classifier.out_proj")}
DISTILBERT = {
    **weights(*(f"distilbert.embeddings.{name}" for name in EMBEDDINGS[:2]), role="embedding"),
    **norm("distilbert.embeddings.LayerNorm"),
    **layers(
        "distilbert.transformer.layer",
        linear(*(f"attention.{name}_lin" for name in ("q", "k", "v", "out")), role="attention"),
        norm("sa_layer_norm", "output_layer_norm"),
        linear("ffn.lin1", "ffn.lin2", role="mlp"),
    ),
    **head("pre_classifier", "classifier"),
}
GPT2 = {
    **weights("transformer.wte", "transformer.wpe", role="embedding"),
    **layers(
        "transformer.h",
        norm("ln_1", "ln_2"),
        linear("attn.c_attn", "attn.c_proj", role="attention"),
        linear("mlp.c_fc", "mlp.c_proj", role="mlp"),
    ),
    **norm("transformer.ln_f"),
}


def t5_attention(place: str) -> Table:
    return {
        **weights(*(f"layer.{place}.{letter}" for letter in "qkvo"), role="attention"),
        **weights(f"layer.{place[0]}.layer_norm", role="norm"),
    }


def t5_mlp(index: int) -> Table:
    return {
        **weights(*(f"layer.{index}.DenseReluDense.{name}" for name in ("wi", "wo")), role="mlp"),
        **weights(f"layer.{index}.layer_norm", role="norm"),
    }


T5 = {
    "shared.weight": "embedding",
    **layers("encoder.block", t5_attention("0.SelfAttention"), t5_mlp(1)),
    **layers("decoder.block", t5_attention("0.SelfAttention"), t5_attention("1.EncDecAttention"), t5_mlp(2)),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "embedding",
    "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": "embedding",
    **weights("encoder.final_layer_norm", "decoder.final_layer_norm", role="norm"),
}
LLAMA = {
    "model.embed_tokens.weight": "embedding",
    **layers(
        "model.layers",
        weights(*(f"self_attn.{letter}_proj" for letter in "qkvo"), role="attention"),
        weights(*(f"mlp.{name}_proj" for name in ("gate", "up", "down")), role="mlp"),
        weights("input_layernorm", "post_attention_layernorm", role="norm"),
    ),
    "model.norm.weight": "norm",
    "lm_head.weight": "head",
}
BARE_LLAMA = {name.removeprefix("model."): role for name, role in LLAMA.items() if name != "lm_head.weight"}
QWEN2 = {**LLAMA, **{f"model.layers.{i}.self_attn.{x}_proj.bias": "bias" for i in range(2) for x in "qkv"}}
MIXTRAL = {name: role for name, role in LLAMA.items() if ".mlp." not in name} | layers(
    "model.layers", dict.fromkeys(("mlp.gate.weight", "mlp.experts.gate_up_proj", "mlp.experts.down_proj"), "mlp")
)

MODELS: dict[str, tuple[Callable[[], nn.Module], Table]] = {
    "bert": (hf.bert, BERT),
    "bare bert": (hf.bare_bert, BARE_BERT),
    "bert for questions": (hf.bert_qa, BERT_QA),
    "bert for masked words": (hf.bert_lm, BERT_LM),
    "roberta": (hf.roberta, ROBERTA),
    "distilbert": (hf.distilbert, DISTILBERT),
    "gpt2": (hf.gpt2, GPT2),
    "t5": (hf.t5, T5),
    "t5 untied": (lambda: hf.t5(tied=False), {**T5, "lm_head.weight": "head"}),
    "llama": (hf.llama, LLAMA),
    "bare llama": (hf.bare_llama, BARE_LLAMA),
    "qwen2": (hf.qwen2, QWEN2),
    "mixtral": (hf.mixtral, MIXTRAL),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter(name: str) -> None:
    build, expected = MODELS[name]
    assert role_of(build()) == expected


def test_a_lightning_like_shell_changes_nothing() -> None:
    assert role_of(models.Shell(hf.bert())) == {f"model.{name}": role for name, role in BERT.items()}


def test_vit() -> None:
    # Modules inside ViT's layers were renamed in transformers 5, so only what both have is named here.
    roles = role_of(hf.vit())
    expected = {
        "vit.embeddings.cls_token": "embedding",
        "vit.embeddings.position_embeddings": "embedding",
        "vit.embeddings.patch_embeddings.projection.weight": "embedding",
        "vit.embeddings.patch_embeddings.projection.bias": "bias",
        "vit.layernorm.weight": "norm",
        "classifier.weight": "head",
        "classifier.bias": "head",
    }
    assert {name: roles[name] for name in expected} == expected
    inside = [role for name, role in roles.items() if ".layer.0." in name or ".layers.0." in name]
    # Query, key, value and output; two feed-forward maps; their six biases; two norms of two parameters.
    assert {role: inside.count(role) for role in set(inside)} == {"attention": 4, "mlp": 2, "bias": 6, "norm": 4}


def test_resnet() -> None:
    roles = role_of(hf.resnet())
    assert roles["resnet.embedder.embedder.convolution.weight"] == "conv"
    assert roles["classifier.1.weight"] == roles["classifier.1.bias"] == "head"
    rest = {name: role for name, role in roles.items() if not name.startswith("classifier")}
    assert {role for name, role in rest.items() if ".convolution." in name} == {"conv"}
    assert {role for name, role in rest.items() if ".normalization." in name} == {"norm"}


def test_clip_has_a_head_per_tower() -> None:
    roles = role_of(hf.clip())
    assert [name for name, role in roles.items() if role == "head"] == [
        "visual_projection.weight",
        "text_projection.weight",
    ]
    assert roles["logit_scale"] == "other"
    assert roles["vision_model.embeddings.class_embedding"] == "embedding"
    assert roles["vision_model.embeddings.patch_embedding.weight"] == "embedding"


def test_a_users_head_on_a_pretrained_encoder() -> None:
    model = nn.Module()
    model.encoder = hf.bare_bert()
    model.out = nn.Linear(8, 3)
    roles = role_of(model)
    assert roles["out.weight"] == roles["out.bias"] == "head"
    assert roles["encoder.pooler.dense.weight"] == "mlp"
    assert roles["encoder.encoder.layer.1.attention.output.dense.weight"] == "attention"
