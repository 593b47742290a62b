"""Tiny transformers models, built from configs offline."""

import pytest
from torch import nn

transformers = pytest.importorskip("transformers")

_TEXT = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 20,
    "max_position_embeddings": 16,
}
_DECODER = {**_TEXT, "num_key_value_heads": 1, "tie_word_embeddings": False}
_VISION = {**_TEXT, "image_size": 8, "patch_size": 4}
del _VISION["vocab_size"], _VISION["max_position_embeddings"]


def bert() -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(**_TEXT))


def bare_bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**_TEXT))


def bert_lm() -> nn.Module:
    return transformers.BertForMaskedLM(transformers.BertConfig(**_TEXT))


def bert_qa() -> nn.Module:
    return transformers.BertForQuestionAnswering(transformers.BertConfig(**_TEXT))


def roberta() -> nn.Module:
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(**_TEXT))


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=16, vocab_size=20)
    return transformers.DistilBertForSequenceClassification(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_embd=8, n_layer=2, n_head=2, vocab_size=20, n_positions=16)
    return transformers.GPT2LMHeadModel(config)


def t5(tied: bool = True) -> nn.Module:
    config = transformers.T5Config(
        d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2, vocab_size=20, tie_word_embeddings=tied
    )
    model = transformers.T5ForConditionalGeneration(config)
    if not tied and model.lm_head.weight is model.shared.weight:
        # transformers 5.23 ties T5 whatever its config says.
        model.lm_head.weight = nn.Parameter(model.shared.weight.detach().clone())
    return model


def vit() -> nn.Module:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**_VISION))


def llama() -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_DECODER))


def bare_llama() -> nn.Module:
    return transformers.LlamaModel(transformers.LlamaConfig(**_DECODER))


def qwen2() -> nn.Module:
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_DECODER))


def mixtral() -> nn.Module:
    return transformers.MixtralForCausalLM(transformers.MixtralConfig(**_DECODER, num_local_experts=2))


def resnet() -> nn.Module:
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[2, 2])
    return transformers.ResNetForImageClassification(config)


def clip() -> nn.Module:
    config = transformers.CLIPConfig(text_config=dict(_TEXT), vision_config=dict(_VISION), projection_dim=8)
    return transformers.CLIPModel(config)


def bart() -> nn.Module:
    config = transformers.BartConfig(
        d_model=8,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        vocab_size=20,
        max_position_embeddings=16,
    )
    return transformers.BartForSequenceClassification(config)


def segformer() -> nn.Module:
    config = transformers.SegformerConfig(
        depths=[1, 1],
        hidden_sizes=[4, 8],
        num_encoder_blocks=2,
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=8,
    )
    return transformers.SegformerForSemanticSegmentation(config)
