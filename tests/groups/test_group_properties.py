"""What holds for every model: a partition, the same from one process to the next."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import group_models as models
import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from hidlr.groups import ROLES, layer_of, param_groups, role_of

LEAVES = st.sampled_from(
    [
        lambda: nn.Linear(4, 4),
        lambda: nn.Linear(4, 12),
        lambda: nn.Conv1d(4, 4, 1),
        lambda: nn.Conv1d(4, 4, 3),
        lambda: nn.LayerNorm(4),
        lambda: nn.BatchNorm1d(4),
        lambda: nn.Embedding(5, 4),
        lambda: nn.GRU(4, 4),
        lambda: nn.MultiheadAttention(4, 1),
        lambda: models.CausalSelfAttention(4),
        lambda: models.LoRALinear(4, 4),
        lambda: models.FeatureNet(),
        lambda: nn.PReLU(),
        lambda: nn.ReLU(),
    ]
)
NAMES = st.sampled_from(["head", "layers", "module", "q", "k", "v", "base_layer", "embed", "lora_A", "x1", "x2"])


class Custom(nn.Module):
    def __init__(self, children: dict[str, nn.Module], shape: list[int] | None) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        if shape is not None:
            self.bare = nn.Parameter(torch.zeros(shape))


def containers(inner: st.SearchStrategy[nn.Module]) -> st.SearchStrategy[nn.Module]:
    lists = st.lists(inner, min_size=1, max_size=3)
    shapes = st.none() | st.lists(st.integers(1, 3), max_size=3)
    return st.one_of(
        lists.map(nn.ModuleList),
        lists.map(lambda children: nn.Sequential(*children)),
        # One module at two places: all its parameters are tied.
        inner.map(lambda child: nn.Sequential(child, child)),
        st.builds(Custom, st.dictionaries(NAMES, inner, max_size=4), shapes),
        inner.map(models.Wrapper),
    )


MODELS = st.recursive(LEAVES.map(lambda build: build()), containers, max_leaves=12)
SCHEMES = ["role", "layer", "tensor", "all", {"rest": "*"}, lambda name, parameter: str(parameter.ndim)]


def assert_partition(model: nn.Module, by: Any) -> None:
    expected = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    groups = param_groups(model, by)
    found = [(n, id(p)) for g in groups for n, p in zip(g["param_names"], g["params"], strict=True)]
    assert len(found) == len(expected)
    assert dict(found) == expected
    assert all(group["params"] for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


@given(MODELS, st.randoms(use_true_random=False))
def test_every_trainable_parameter_is_in_one_group(model: nn.Module, random: Any) -> None:
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.requires_grad_(random.random() < 0.7)
    if not any(parameter.requires_grad for parameter in parameters):
        return
    for by in SCHEMES:
        assert_partition(model, by)


@given(MODELS)
def test_roles_and_layers_name_every_parameter(model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters()]
    assert list(role_of(model)) == list(layer_of(model)) == names
    assert set(role_of(model).values()) <= set(ROLES)


@given(MODELS)
def test_a_wrapper_changes_no_role(model: nn.Module) -> None:
    assert list(role_of(models.Wrapper(model)).values()) == list(role_of(model).values())


@pytest.mark.parametrize("build", [models.mlp, models.Decoder, models.ResNet, models.VisionTransformer])
@pytest.mark.parametrize("by", ["bias", "head"])
def test_two_way_schemes_cover(build: Any, by: str) -> None:
    assert_partition(build(), by)


SCRIPT = """
import group_models as models
from hidlr.groups import param_groups
for build in (models.mlp, models.Decoder, models.ResNet, models.VisionTransformer, models.AdditiveModel):
    for by in ("role", "layer", "tensor", "all", {"w": "*weight", "rest": "*"}, lambda n, p: str(p.numel() % 5)):
        print([(group["name"], group["param_names"]) for group in param_groups(build(), by)])
"""


def test_groups_do_not_depend_on_the_hash_seed() -> None:
    source = Path(__file__).parents[2] / "src"
    found = set()
    for seed in ("0", "1", "12345"):
        path = os.pathsep.join([str(source), str(Path(__file__).parent)])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
        )
        found.add(done.stdout)
    assert len(found) == 1
