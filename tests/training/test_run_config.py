import math
from typing import Any

import pytest

from hidlr import workloads
from hidlr.errors import InputError, StateError
from hidlr.training import RunConfig


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rate", 0.0),
        ("rate", -1e-3),
        ("rate", math.nan),
        ("rate", math.inf),
        ("rate", "fast"),
        ("start_rate", 0.0),
        ("steps", 0),
        ("steps", -3),
        ("eval_every", 0),
        ("checkpoint_every", 0),
        ("seed", -1),
        ("seed", 2**32),
        ("schedule", "step"),
        ("engine", "papper"),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("overhead", 0.0),
    ],
)
def test_impossible_value_is_named(setting: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{setting}={value!r}"):
        RunConfig("ellipse", **{setting: value})


def test_warmup_is_for_uniform_rates() -> None:
    with pytest.raises(InputError, match="of its own"):
        RunConfig("ellipse", warmup=0.1)
    assert RunConfig("ellipse", rate=1e-3, warmup=0.1).warmup == 0.1


@pytest.mark.parametrize("name", workloads.names())
def test_resolved_takes_the_workloads_choices(name: str) -> None:
    config = RunConfig(name).resolved()
    own = workloads.get(name).defaults
    assert (config.optimizer, config.steps, config.groups) == (own.optimizer, own.steps, own.groups)
    assert None not in config.to_dict().values()
    assert config.resolved() == config
    assert RunConfig.from_dict(config.to_dict()) == config


def test_resolved_keeps_what_was_said() -> None:
    config = RunConfig("ellipse", optimizer="adam", steps=7, schedule="cosine", groups="all").resolved()
    assert (config.optimizer, config.steps, config.schedule, config.groups) == ("adam", 7, "cosine", "all")


def test_differences_name_the_settings() -> None:
    first, second = RunConfig("ellipse"), RunConfig("ellipse", seed=3, rate=0.1)
    assert first.differences(first) == []
    assert first.differences(second) == ["rate: 'auto' here, 0.1 there", "seed: 0 here, 3 there"]


def test_unknown_setting_is_named() -> None:
    with pytest.raises(StateError, match="colour"):
        RunConfig.from_dict({"workload": "ellipse", "colour": "red"})
