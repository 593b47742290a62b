"""Layers: repeated blocks are counted, what is before and after them has a name."""

from collections import OrderedDict
from types import ModuleType

import group_models as models
import pytest
from torch import nn

from hidlr.groups import layer_of, param_groups


def group_sizes(model: nn.Module) -> list[tuple[str, int]]:
    return [(group["name"], len(group["params"])) for group in param_groups(model, "layer")]


def test_decoder() -> None:
    # 12 in a block: two norms, two attention maps, two feed-forward maps, of two parameters each.
    assert group_sizes(models.Decoder()) == [("embedding", 2), ("layer_0", 12), ("layer_1", 12), ("head", 3)]


def test_a_single_block_is_a_layer() -> None:
    assert group_sizes(models.Decoder(depth=1)) == [("embedding", 2), ("layer_0", 12), ("head", 3)]
    in_sequential = nn.Sequential(OrderedDict(body=nn.Sequential(models.FlatBlock(8)), head=nn.Linear(8, 2)))
    assert group_sizes(in_sequential) == [("layer_0", 12), ("head", 2)]


def test_the_last_norm_goes_with_the_head() -> None:
    layers = layer_of(models.Decoder())
    assert layers["ln_f.weight"] == layers["output.weight"] == "head"


def test_timm_vision_transformer() -> None:
    layers = layer_of(models.VisionTransformer())
    assert layers["cls_token"] == layers["pos_embed"] == layers["patch_embed.proj.bias"] == "embedding"
    assert layers["blocks.0.ls1.gamma"] == "layer_0"
    assert layers["blocks.1.attn.q_norm.weight"] == "layer_1"
    assert layers["norm.weight"] == layers["head_dist.weight"] == "head"


def test_resnet_counts_the_blocks_of_each_stage() -> None:
    layers = layer_of(models.ResNet(stages=(2, 1)))
    assert layers["conv1.weight"] == layers["bn1.bias"] == "stem"
    assert layers["layer1.1.conv2.weight"] == "layer1.layer_1"
    assert layers["layer2.0.downsample.1.weight"] == "layer2.layer_0"
    assert layers["fc.bias"] == "head"
    assert list(dict.fromkeys(layers.values())) == [
        "stem",
        "layer1.layer_0",
        "layer1.layer_1",
        "layer2.layer_0",
        "head",
    ]


def test_without_blocks_each_layer_counts() -> None:
    assert group_sizes(models.mlp()) == [("layer_0", 2), ("layer_1", 2), ("head", 2)]
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    assert group_sizes(model) == [("layer_0", 4), ("layer_1", 2), ("head", 2)]


def test_recurrent_network() -> None:
    assert group_sizes(models.Tagger()) == [("embedding", 1), ("layer_0", 8), ("head", 2)]


def test_single_linear() -> None:
    assert group_sizes(nn.Linear(2, 1)) == [("head", 2)]


def test_additive_model() -> None:
    assert group_sizes(models.AdditiveModel(2)) == [("rest", 1), ("layer_0", 4), ("layer_1", 4)]


def test_numbered_attributes_are_blocks() -> None:
    model = nn.Module()
    model.block1, model.block2 = models.FlatBlock(8), models.FlatBlock(8)
    model.out = nn.Linear(8, 2)
    assert group_sizes(model) == [("layer_0", 12), ("layer_1", 12), ("head", 2)]


def test_actor_and_critic_are_no_blocks() -> None:
    model = nn.Module()
    model.actor = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    model.critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    assert group_sizes(model) == [("layer_0", 2), ("head", 4), ("layer_1", 2)]


def test_what_stands_between_blocks_goes_with_the_one_before() -> None:
    blocks = [models.FeatureNet(), nn.Linear(1, 1), models.FeatureNet(), nn.BatchNorm1d(1), nn.Linear(1, 3)]
    assert list(layer_of(nn.Sequential(*blocks)).values()) == ["layer_0"] * 6 + ["layer_1"] * 4 + ["head"] * 4


def test_of_several_classes_the_most_frequent_is_the_block() -> None:
    net, end = models.FeatureNet, models.ActorCritic
    layers = layer_of(nn.Sequential(end(), net(), net(), net(), end()))
    assert layers["0.policy.weight"] == "stem"
    assert layers["3.out.bias"] == "layer_2"
    assert layers["4.trunk.0.weight"] == "head"


def test_stages_may_differ_in_depth_and_blocks() -> None:
    stages = [nn.Sequential(models.ActorCritic()), nn.Sequential(*[models.FeatureNet() for _ in range(3)])]
    assert group_sizes(nn.Sequential(nn.Linear(4, 4), nn.Sequential(*stages), nn.Linear(1, 2))) == [
        ("stem", 2),
        ("layer_0", 8),
        ("layer_1", 12),
        ("head", 2),
    ]


def test_features_and_classifier_are_no_stages() -> None:
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    model = nn.Sequential(features, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    assert group_sizes(model) == [("layer_0", 4), ("layer_1", 2), ("head", 2)]


def test_nested_lists_count_the_outermost() -> None:
    rows = [nn.ModuleList([models.CausalSelfAttention(8), models.FeedForward(8)]) for _ in range(3)]
    assert group_sizes(nn.ModuleList(rows)) == [("layer_0", 8), ("layer_1", 8), ("layer_2", 8)]


class TestTransformersModels:
    @pytest.fixture
    def hf(self) -> ModuleType:
        pytest.importorskip("transformers")
        import hf_models

        return hf_models

    def test_bert(self, hf: ModuleType) -> None:
        layers = layer_of(hf.bert())
        assert layers["bert.embeddings.LayerNorm.weight"] == "embedding"
        assert layers["bert.encoder.layer.1.output.dense.bias"] == "layer_1"
        assert layers["bert.pooler.dense.weight"] == layers["classifier.weight"] == "head"
        assert list(dict.fromkeys(layers.values())) == ["embedding", "layer_0", "layer_1", "head"]

    def test_encoder_and_decoder_apart(self, hf: ModuleType) -> None:
        assert [name for name, _ in group_sizes(hf.t5(tied=False))] == [
            "embedding",
            "encoder.layer_0",
            "encoder.layer_1",
            "encoder.final",
            "decoder.layer_0",
            "decoder.layer_1",
            "decoder.final",
            "head",
        ]

    def test_towers_have_their_own_embeddings(self, hf: ModuleType) -> None:
        layers = layer_of(hf.clip())
        assert layers["text_model.embeddings.token_embedding.weight"] == "text_model.embedding"
        assert layers["vision_model.encoder.layers.1.mlp.fc1.weight"] == "vision_model.layer_1"
        assert layers["vision_model.post_layernorm.weight"] == "vision_model.final"
        assert layers["text_projection.weight"] == "head"
        assert layers["logit_scale"] == "rest"

    def test_a_norm_of_embeddings_goes_with_them(self, hf: ModuleType) -> None:
        layers = layer_of(hf.bart())
        assert layers["model.shared.weight"] == "embedding"
        assert layers["model.encoder.embed_positions.weight"] == "encoder.embedding"
        assert layers["model.encoder.layernorm_embedding.weight"] == "encoder.embedding"
        assert layers["classification_head.out_proj.weight"] == "head"

    def test_stages_are_the_outermost_repeat(self, hf: ModuleType) -> None:
        layers = layer_of(hf.resnet())
        assert list(dict.fromkeys(layers.values())) == ["stem", "layer_0", "layer_1", "head"]

    def test_repeats_in_the_head_are_no_layers(self, hf: ModuleType) -> None:
        layers = layer_of(hf.segformer())
        decoder = {layer for name, layer in layers.items() if name.startswith("decode_head.")}
        assert decoder == {"head"}
        assert {"layer_0", "layer_1"} < set(layers.values())
