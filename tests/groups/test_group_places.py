"""Names that wrappers do not change, and where each parameter stands."""

import pytest
import torch
from hf_models import bert
from torch import nn

import hidlr
from hidlr.groups import Place, canonical_name, located


class Wrapper(nn.Module):
    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        self.add_module(name, inner)


def test_depth_is_the_middle_of_the_block() -> None:
    blocks = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(4)))
    model = nn.Sequential(nn.Embedding(5, 4), blocks, nn.Linear(4, 2))
    places = {name: own.place for name, own in located(model).items()}
    assert places["1.3.1.weight"] == Place("norm", "layer_3", 0.875)
    assert places["0.weight"] == Place("embedding", "embedding")
    assert places["2.bias"] == Place("head", "head")


@pytest.mark.parametrize("name", ["module", "_orig_mod", "_fsdp_wrapped_module"])
def test_wrappers_do_not_show(name: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert list(located(Wrapper(model, name))) == list(located(model))
    wrapped = [name for name, _ in Wrapper(model, name).named_parameters()]
    assert [canonical_name(name) for name in wrapped] == list(located(model))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_does_not_show() -> None:
    peft = pytest.importorskip("peft")
    names = list(located(bert()))
    config = peft.LoraConfig(target_modules=["query"], modules_to_save=["classifier"])
    wrapped = peft.get_peft_model(bert(), config)
    found = located(wrapped)
    assert set(names) <= set(found)
    assert {name.rpartition(".lora")[0][-5:] for name in set(found) - set(names)} == {"query"}
    # The copy is what is trained.
    assert all(parameter.requires_grad for parameter in found["classifier.weight"].parameters)
    assert {canonical_name(name) for name, _ in wrapped.named_parameters()} == set(found)


def test_parametrizations_keep_all_their_parameters() -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), nn.ReLU(), nn.Linear(2, 1))
    assert len(located(model)["0.weight"].parameters) == 2


def test_groups_by_role_and_layer() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    names = [group["name"] for group in hidlr.param_groups(model, "role_layer")]
    assert names == ["layer_0/mlp", "layer_0/bias", "layer_1/mlp", "layer_1/bias", "head/head"]
    assert torch.is_tensor(hidlr.param_groups(model, "role_layer")[0]["params"][0])
