"""``param_groups``: named schemes, callables, defaults, and every other error."""

import re
from collections.abc import Callable
from typing import Any

import group_models as models
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import hidlr.groups
from hidlr.errors import InputError, InputTypeError
from hidlr.groups import ROLES, param_groups


def names(model: nn.Module, by: Any) -> dict[str, list[str]]:
    return {group["name"]: group["param_names"] for group in param_groups(model, by)}


def frozen(model: nn.Module, *parts: str) -> nn.Module:
    for name, parameter in model.named_parameters():
        if not parts or name.startswith(parts):
            parameter.requires_grad_(False)
    return model


def with_lora() -> nn.Sequential:
    return nn.Sequential(models.LoRALinear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_public_names() -> None:
    assert set(hidlr.groups.__all__) == {
        "ROLES", "By", "Located", "Place", "canonical_name", "layer_of", "located", "param_groups", "role_of",
    }  # fmt: skip
    assert all(hasattr(hidlr.groups, name) for name in hidlr.groups.__all__)


@pytest.mark.parametrize(
    "build",
    [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad],
    ids=lambda build: build.__name__,
)
def test_any_optimizer_takes_the_groups_as_they_are(build: Callable[..., torch.optim.Optimizer]) -> None:
    model = models.mlp()
    optimizer = build(param_groups(model, "role", weight_decay=0.25), lr=0.1)
    assert [group["name"] for group in optimizer.param_groups] == ["mlp", "bias", "head"]
    assert optimizer.param_groups[2]["param_names"] == ["4.weight", "4.bias"]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.25}
    model(torch.ones(3, 4)).sum().backward()
    optimizer.step()
    assert [group["name"] for group in optimizer.state_dict()["param_groups"]] == ["mlp", "bias", "head"]


def test_parameters_stand_beside_their_names() -> None:
    model = models.Decoder()
    by_name = dict(model.named_parameters())
    for group in param_groups(model, "role"):
        assert all(by_name[n] is p for n, p in zip(group["param_names"], group["params"], strict=True))


def test_defaults_are_not_shared_between_groups() -> None:
    first, *_, last = param_groups(models.mlp(), "role", lr=torch.tensor(0.1), betas=[0.9, 0.99])
    first["lr"].fill_(7.0)
    first["betas"][0] = 0.0
    assert last["lr"].item() == pytest.approx(0.1)
    assert last["betas"] == [0.9, 0.99]


class TestSchemes:
    def test_roles_come_in_canonical_order(self) -> None:
        found = list(names(models.Decoder(), "role"))
        assert found == ["embedding", "attention", "mlp", "bias", "norm", "head"]
        assert found == [role for role in ROLES if role in found]

    def test_all(self) -> None:
        assert names(nn.Linear(2, 1), "all") == {"all": ["weight", "bias"]}

    def test_tensor(self) -> None:
        assert names(nn.Linear(2, 1), "tensor") == {"weight": ["weight"], "bias": ["bias"]}

    def test_bias_holds_those_of_norms_and_head_too(self) -> None:
        model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        assert names(model, "bias") == {
            "bias": ["0.bias", "1.bias", "2.bias"],
            "rest": ["0.weight", "1.weight", "2.weight"],
        }

    def test_head(self) -> None:
        assert names(models.mlp(), "head") == {
            "head": ["4.weight", "4.bias"],
            "rest": ["0.weight", "0.bias", "2.weight", "2.bias"],
        }

    def test_linear_probing_has_no_rest(self) -> None:
        assert list(names(frozen(models.mlp(), "0", "2"), "head")) == ["head"]

    def test_lora(self) -> None:
        assert names(with_lora(), "lora") == {
            "lora_A": ["0.A"],
            "lora_B": ["0.B"],
            "head": ["2.weight", "2.bias"],
            "rest": ["0.linear.weight", "0.linear.bias"],
        }

    def test_lora_as_a_parametrization(self) -> None:
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        parametrize.register_parametrization(model[0], "weight", models.LoRAParametrization(4, 8))
        assert names(model, "role") == {
            "mlp": ["0.parametrizations.weight.original"],
            "bias": ["0.bias"],
            "head": ["2.weight", "2.bias"],
            "lora_A": ["0.parametrizations.weight.0.lora_A"],
            "lora_B": ["0.parametrizations.weight.0.lora_B"],
        }

    def test_callable_groups_come_as_they_first_appear(self) -> None:
        found = names(models.mlp(), lambda name, parameter: f"{parameter.ndim}d")
        assert found == {"2d": ["0.weight", "2.weight", "4.weight"], "1d": ["0.bias", "2.bias", "4.bias"]}

    def test_a_callable_sees_trainable_parameters_only(self) -> None:
        seen: list[str] = []
        param_groups(frozen(models.mlp(), "0", "2"), lambda name, _: seen.append(name) or "all")
        assert seen == ["4.weight", "4.bias"]

    def test_a_callables_own_error_goes_through(self) -> None:
        def by(name: str, parameter: nn.Parameter) -> str:
            raise ZeroDivisionError(name)

        with pytest.raises(ZeroDivisionError, match=r"0\.weight"):
            param_groups(models.mlp(), by)


ERRORS: dict[str, tuple[Callable[[], nn.Module], Any, type[Exception], str]] = {
    "unknown scheme": (
        models.mlp,
        "roles",
        InputError,
        'by=\'roles\' is unknown: did you mean "role"? choose from "role", "layer", "role_layer", "tensor", "bias", '
        '"head", "lora", "all"; a pattern goes in a dict, e.g. {"name": \'roles\', "rest": "*"}',
    ),
    "unknown scheme, nothing near": (models.mlp, "4.*", InputError, "by='4.*' is unknown: choose from \"role\""),
    "by a list": (
        models.mlp,
        ["role"],
        InputTypeError,
        "a dict of group name to patterns, or a callable (name, parameter) -> str; got ['role'] (list)",
    ),
    "by a class": (models.mlp, dict, InputTypeError, "got <class 'dict'> (type)"),
    "by None": (models.mlp, None, InputTypeError, "got None (NoneType)"),
    "callable returns None": (
        models.mlp,
        lambda name, _: None if name == "2.bias" else "a",
        InputTypeError,
        "by('2.bias', parameter) returned None (NoneType): a callable must return the group's name, a string",
    ),
    "callable returns nothing": (
        models.mlp,
        lambda name, _: "",
        InputError,
        "by('0.weight', parameter) returned an empty string: return a name for every parameter, e.g. \"rest\"",
    ),
    "no parameters": (nn.ReLU, "all", InputError, "the model has no parameters, so there is nothing to group"),
    "no parameters, by role": (nn.ReLU, "role", InputError, "the model has no parameters"),
    "nothing trainable": (
        lambda: frozen(nn.Linear(2, 1)),
        "role",
        InputError,
        "the model has no trainable parameters: 2 parameters ('weight', 'bias') are frozen; "
        "call requires_grad_(True) on some of them",
    ),
    "no lora": (
        models.mlp,
        "lora",
        InputError,
        'by="lora" on a model without LoRA parameters: wrap it with peft.get_peft_model first, or use by="role"',
    ),
    "frozen lora": (
        lambda: frozen(with_lora(), "0.A", "0.B"),
        "lora",
        InputError,
        "by=\"lora\": all of LoRA is frozen: 2 parameters ('0.A', '0.B'); load the adapter with is_trainable=True",
    ),
    "no head": (
        models.AdditiveModel,
        "head",
        InputError,
        'by="head": no head can be told in this model (no linear map stands after its blocks): '
        'give patterns instead, e.g. by={"head": "decoder.out.*", "rest": "*"}',
    ),
    "tied head": (
        lambda: models.Decoder(tied=True),
        "head",
        InputError,
        "the head is tied to the embedding 'tokens.weight', so it cannot have a group of its own: use by=\"role\"",
    ),
    "frozen head": (
        lambda: frozen(models.mlp(), "4"),
        "head",
        InputError,
        "by=\"head\": group \"head\" holds only frozen parameters: 2 parameters ('4.weight', '4.bias')",
    ),
    "no bias": (
        lambda: nn.Linear(2, 1, bias=False),
        "bias",
        InputError,
        'by="bias" on a model without biases: use by="role", or give patterns',
    ),
    "frozen bias": (
        lambda: frozen(nn.Linear(2, 1), "bias"),
        "bias",
        InputError,
        "group \"bias\" holds only frozen parameters: 1 parameter ('bias'); call requires_grad_(True)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_culprit_and_the_remedy(case: str) -> None:
    build, by, error, message = ERRORS[case]
    with pytest.raises(error, match=re.escape(message)):
        param_groups(build(), by)


def test_model_of_the_wrong_type() -> None:
    with pytest.raises(InputTypeError, match=r"model must be a torch\.nn\.Module, got generator"):
        param_groups(models.mlp().parameters(), "all")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["params", "name", "param_names"])
def test_defaults_that_param_groups_sets_itself(key: str) -> None:
    with pytest.raises(InputError, match=f"'{key}' is set by param_groups in each group"):
        param_groups(models.mlp(), "all", **{key: "mine"})


def test_flat_parameters_of_fsdp1() -> None:
    model = nn.Module()
    model.register_parameter("_flat_param", nn.Parameter(torch.zeros(3)))
    with pytest.raises(InputError, match=r"'_flat_param' is FSDP1's flat parameter.*use_orig_params=True"):
        param_groups(model, "all")
