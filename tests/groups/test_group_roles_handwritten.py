"""Roles in models written by hand: types and positions decide, names come last."""

from collections import OrderedDict

import group_models as models
import pytest
import torch
from torch import nn

from hidlr.errors import InputError, InputTypeError
from hidlr.groups import ROLES, role_of


def assert_roles(model: nn.Module, expected: dict[str, str]) -> None:
    """The table must hold every parameter: nothing passes unseen."""
    assert role_of(model) == expected


def block(prefix: str, attention: dict[str, str], norms: tuple[str, str], mlp: tuple[str, str]) -> dict[str, str]:
    """A block's table: norms are norms, the feed-forward's weights mlp, all biases bias."""
    table = {f"{prefix}.{name}": role for name, role in attention.items()}
    table |= {f"{prefix}.{norm}.{part}": "norm" for norm in norms for part in ("weight", "bias")}
    for layer in mlp:
        table |= {f"{prefix}.{layer}.weight": "mlp", f"{prefix}.{layer}.bias": "bias"}
    return table


FUSED = {
    "attn.qkv.weight": "attention",
    "attn.qkv.bias": "bias",
    "attn.proj.weight": "attention",
    "attn.proj.bias": "bias",
}
NAMELESS = {name.replace("qkv", "first").replace("proj", "second"): role for name, role in FUSED.items()}
SEPARATE = {
    **{f"attn.to_{letter}.weight": "attention" for letter in "qkv"},
    **{f"attn.to_{letter}.bias": "bias" for letter in "qkv"},
    "attn.to_out.0.weight": "attention",
    "attn.to_out.0.bias": "bias",
}


class TestPlainNetworks:
    def test_the_last_linear_is_the_head(self) -> None:
        assert_roles(
            models.mlp(),
            {
                "0.weight": "mlp",
                "0.bias": "bias",
                "2.weight": "mlp",
                "2.bias": "bias",
                "4.weight": "head",
                "4.bias": "head",
            },
        )

    def test_a_single_linear_is_all_head(self) -> None:
        assert_roles(nn.Linear(3, 2), {"weight": "head", "bias": "head"})

    def test_position_beats_a_lying_name(self) -> None:
        layers = OrderedDict(head=nn.Linear(4, 8), act=nn.ReLU(), embedding=nn.Linear(8, 2))
        assert_roles(
            nn.Sequential(layers),
            {"head.weight": "mlp", "head.bias": "bias", "embedding.weight": "head", "embedding.bias": "head"},
        )

    def test_layers_in_a_module_list(self) -> None:
        model = nn.Module()
        model.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 1)])
        roles = role_of(model)
        assert [roles[f"layers.{i}.weight"] for i in range(3)] == ["mlp", "mlp", "head"]

    def test_parallel_heads(self) -> None:
        assert_roles(
            models.ActorCritic(),
            {
                "trunk.0.weight": "mlp",
                "trunk.0.bias": "bias",
                "trunk.2.weight": "mlp",
                "trunk.2.bias": "bias",
                "policy.weight": "head",
                "policy.bias": "head",
                "value.weight": "head",
                "value.bias": "head",
            },
        )

    def test_a_head_written_before_what_feeds_it(self) -> None:
        model = nn.Module()
        model.head = nn.Linear(64, 10)
        model.time = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64))
        roles = role_of(model)
        assert roles["head.weight"] == "head"
        assert roles["time.2.weight"] == "mlp"

    def test_recurrent(self) -> None:
        roles = role_of(models.Tagger())
        assert roles["words.weight"] == "embedding"
        assert {roles[f"rnn.weight_{part}_l{i}"] for part in ("ih", "hh") for i in range(2)} == {"recurrent"}
        assert {roles[f"rnn.bias_{part}_l{i}"] for part in ("ih", "hh") for i in range(2)} == {"bias"}
        assert roles["dense.weight"] == roles["dense.bias"] == "head"

    def test_additive_model_has_no_head(self) -> None:
        roles = role_of(models.AdditiveModel())
        assert roles["bias"] == "bias"
        assert {roles[f"nets.{i}.{layer}.weight"] for i in range(3) for layer in ("hidden", "out")} == {"mlp"}
        assert {roles[f"nets.{i}.{layer}.bias"] for i in range(3) for layer in ("hidden", "out")} == {"bias"}

    def test_hand_written_layers_are_told_by_their_shapes(self) -> None:
        model = nn.Sequential(models.GraphConvolution(4, 8), models.RootMeanSquare(8), models.GraphConvolution(8, 3))
        assert_roles(
            model,
            {
                "0.weight": "mlp",
                "0.bias": "bias",
                "1.weight": "norm",
                "2.weight": "head",
                "2.bias": "head",
            },
        )

    @pytest.mark.parametrize(
        "norm",
        [nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.RMSNorm(4), nn.InstanceNorm1d(4, affine=True)],
        ids=lambda norm: type(norm).__name__,
    )
    def test_norms_are_norms_even_after_the_head(self, norm: nn.Module) -> None:
        roles = role_of(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), norm))
        assert {role for name, role in roles.items() if name.startswith("2.")} == {"norm"}

    def test_bare_parameters_are_other(self) -> None:
        model = models.mlp()
        model.register_parameter("log_std", nn.Parameter(torch.zeros(2)))
        assert role_of(model)["log_std"] == "other"


class TestConvolutionalNetworks:
    def test_resnet(self) -> None:
        roles = role_of(models.ResNet())
        expected = {
            "conv1.weight": "conv",
            "bn1.weight": "norm",
            "bn1.bias": "norm",
            "layer1.0.conv1.weight": "conv",
            "layer1.1.bn2.bias": "norm",
            "layer2.0.conv2.weight": "conv",
            "layer2.0.downsample.0.weight": "conv",
            "layer2.0.downsample.1.weight": "norm",
            "fc.weight": "head",
            "fc.bias": "head",
        }
        assert {name: roles[name] for name in expected} == expected
        assert set(roles.values()) == {"conv", "norm", "head"}

    def test_classifier_of_several_layers(self) -> None:
        model = nn.Module()
        model.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3))
        model.classifier = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10))
        assert_roles(
            model,
            {
                "features.0.weight": "conv",
                "features.0.bias": "bias",
                "features.2.weight": "conv",
                "features.2.bias": "bias",
                "classifier.0.weight": "mlp",
                "classifier.0.bias": "bias",
                "classifier.2.weight": "head",
                "classifier.2.bias": "head",
            },
        )

    def test_the_last_pointwise_convolution_is_a_head(self) -> None:
        assert_roles(
            models.Segmenter(),
            {
                "down.weight": "conv",
                "down.bias": "bias",
                "up.weight": "conv",
                "up.bias": "bias",
                "out.weight": "head",
                "out.bias": "head",
            },
        )

    def test_a_generator_has_no_head(self) -> None:
        model = nn.Sequential(nn.Linear(4, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 1, 2))
        assert_roles(model, {"0.weight": "mlp", "0.bias": "bias", "2.weight": "conv", "2.bias": "bias"})


class TestTransformers:
    @pytest.mark.parametrize(
        ("mixer", "attention"),
        [
            (models.CausalSelfAttention, FUSED),
            (models.Mixer, FUSED),
            (models.Nameless, NAMELESS),
            (models.Separate, SEPARATE),
        ],
        ids=["by-class", "by-children", "by-shapes", "grouped-query"],
    )
    @pytest.mark.parametrize("depth", [1, 2])
    def test_decoder(self, mixer: type[nn.Module], attention: dict[str, str], depth: int) -> None:
        expected = {"tokens.weight": "embedding", "wpe": "embedding", "ln_f.weight": "norm", "ln_f.bias": "norm"}
        for i in range(depth):
            expected |= block(f"blocks.{i}", attention, ("ln_1", "ln_2"), ("mlp.fc", "mlp.proj"))
        assert_roles(models.Decoder(mixer, depth), {**expected, "output.weight": "head"})

    def test_flat_block(self) -> None:
        model = nn.Sequential(models.FlatBlock(8), models.FlatBlock(8), nn.Linear(8, 2))
        expected = {"2.weight": "head", "2.bias": "head"}
        for i in range(2):
            for layer, role in {
                "query": "attention",
                "key": "attention",
                "value": "attention",
                "dense": "attention",
                "wide": "mlp",
                "narrow": "mlp",
            }.items():
                expected |= {f"{i}.{layer}.weight": role, f"{i}.{layer}.bias": "bias"}
        assert_roles(model, expected)

    def test_attention_pooling_with_a_feed_forward_inside(self) -> None:
        pool = models.Separate(8)
        pool.mlp = models.FeedForward(8)
        pool.probe = nn.Parameter(torch.zeros(1, 1, 8))
        model = nn.Sequential(models.TimmBlock(), models.TimmBlock(), pool)
        roles = role_of(model)
        assert roles["2.to_k.weight"] == roles["2.to_out.0.weight"] == "attention"
        assert roles["2.mlp.fc.weight"] == roles["2.mlp.proj.weight"] == "mlp"

    def test_a_model_that_is_one_attention_layer(self) -> None:
        roles = role_of(models.CausalSelfAttention(8))
        assert roles["qkv.weight"] == roles["proj.weight"] == "attention"
        classifier = nn.Module()
        for name in "qkv":
            classifier.add_module(name, nn.Linear(8, 8))
        classifier.out = nn.Linear(8, 3)
        roles = role_of(classifier)
        assert [roles[f"{name}.weight"] for name in ("q", "k", "v", "out")] == ["attention"] * 3 + ["head"]

    def test_matrices_without_layers(self) -> None:
        model = nn.Module()
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            model.register_parameter(name, nn.Parameter(torch.zeros(2, 8, 4)))
        model.register_parameter("b_Q", nn.Parameter(torch.zeros(8)))
        outer = nn.Sequential(model, nn.Linear(8, 2))
        assert [role for name, role in role_of(outer).items() if name.startswith("0.W")] == ["attention"] * 4

    def test_torch_encoder_without_a_head(self) -> None:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        model = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(8))
        attention = {
            "self_attn.in_proj_weight": "attention",
            "self_attn.in_proj_bias": "bias",
            "self_attn.out_proj.weight": "attention",
            "self_attn.out_proj.bias": "bias",
        }
        expected = {"norm.weight": "norm", "norm.bias": "norm"}
        for i in range(2):
            expected |= block(f"layers.{i}", attention, ("norm1", "norm2"), ("linear1", "linear2"))
        assert_roles(model, expected)

    def test_attention_with_separate_widths_and_extra_biases(self) -> None:
        model = nn.Sequential(nn.MultiheadAttention(8, 2, kdim=4, vdim=4, add_bias_kv=True))
        assert_roles(
            model,
            {
                "0.q_proj_weight": "attention",
                "0.k_proj_weight": "attention",
                "0.v_proj_weight": "attention",
                "0.in_proj_bias": "bias",
                "0.bias_k": "bias",
                "0.bias_v": "bias",
                "0.out_proj.weight": "attention",
                "0.out_proj.bias": "bias",
            },
        )

    def test_linear_input_of_a_transformer_is_its_embedding(self) -> None:
        roles = role_of(models.Forecaster())
        assert roles["first.weight"] == "embedding"
        assert roles["first.bias"] == "bias"
        assert roles["body.layers.1.linear2.weight"] == "mlp"
        assert roles["last.weight"] == roles["last.bias"] == "head"

    def test_timm_vision_transformer(self) -> None:
        attention = {
            **FUSED,
            "attn.q_norm.weight": "norm",
            "attn.q_norm.bias": "norm",
            "attn.k_norm.weight": "norm",
            "attn.k_norm.bias": "norm",
            "ls1.gamma": "other",
        }
        expected = {
            "cls_token": "embedding",
            "dist_token": "embedding",
            "pos_embed": "embedding",
            "patch_embed.proj.weight": "embedding",
            "patch_embed.proj.bias": "bias",
            "norm.weight": "norm",
            "norm.bias": "norm",
            "head.weight": "head",
            "head.bias": "head",
            "head_dist.weight": "head",
            "head_dist.bias": "head",
        }
        for i in range(2):
            expected |= block(f"blocks.{i}", attention, ("norm1", "norm2"), ("mlp.fc1", "mlp.fc2"))
        assert_roles(models.VisionTransformer(), expected)

    def test_tied_output_is_embedding(self) -> None:
        roles = role_of(models.Decoder(tied=True))
        assert roles["tokens.weight"] == "embedding"
        assert "output.weight" not in roles

    def test_tied_output_registered_first_is_embedding_under_its_first_name(self) -> None:
        model = nn.Module()
        model.out = nn.Linear(4, 10, bias=False)
        model.words = nn.Embedding(10, 4)
        model.words.weight = model.out.weight
        assert role_of(model) == {"out.weight": "embedding"}


def test_roles_are_all_documented_ones() -> None:
    for model in (models.mlp(), models.Decoder(), models.ResNet(), models.VisionTransformer(), models.AdditiveModel()):
        assert set(role_of(model).values()) <= set(ROLES)


def test_frozen_parameters_keep_their_roles() -> None:
    model = models.Decoder()
    before = role_of(model)
    assert role_of(model.requires_grad_(False)) == before


def test_a_model_without_parameters_has_no_roles() -> None:
    assert role_of(nn.ReLU()) == {}


def test_modules_that_refer_to_their_parents() -> None:
    model = models.mlp()
    model.add_module("itself", model)
    assert len(role_of(model)) == 6


def test_no_module() -> None:
    with pytest.raises(InputTypeError, match=r"model must be a torch\.nn\.Module, got list"):
        role_of([nn.Parameter(torch.zeros(1))])  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_parameters() -> None:
    with pytest.raises(InputError, match=r"'weight' is lazy and has no shape yet: run one forward pass"):
        role_of(nn.LazyLinear(3))
