import json
import math

import pytest
import torch
from benchmarks.data import MissingDataError
from benchmarks.run import RunConfig, execute
from toys import Line, config, find

from hidlr.errors import InputError


def run(**settings: object) -> dict:
    return execute(config(**settings), None, find=find)


def test_identity_is_of_the_meaning() -> None:
    one = config(rate=1, options=(("b", 1), ("a", "x")), method="hidlr")
    assert one == config(rate=1.0, options=(("a", "x"), ("b", 1.0)), method="hidlr")
    assert one.identity == RunConfig.from_dict(json.loads(json.dumps(one.to_dict()))).identity
    assert one.identity != config(rate=1, method="hidlr").identity
    # Results that are stored are found by it: it must not change.
    assert RunConfig("digits-vit", "adamw", "hidlr", 100, 1e-6).identity == "b48012a19a7749e41eb0"


def test_configs_of_later_versions_are_refused() -> None:
    with pytest.raises(InputError, match="no field 'device'"):
        RunConfig.from_dict({**config().to_dict(), "device": "cuda"})


@pytest.mark.usefixtures("isolated")
def test_uniform_is_what_one_would_write_by_hand() -> None:
    result = run(seed=3, rate=0.2, warmup=0.1, multipliers=(("bias", 0.5),))
    work, steps = Line(), 40
    model = work.build(3)
    losses = []
    for step in range(steps):
        factor = (step + 1) / 4 if step < 4 else 1 - (step - 4) / 36
        loss = work.loss(model, work.batch(step, 3))
        gradients = torch.autograd.grad(loss, [model.weight, model.bias])
        with torch.no_grad():
            model.weight -= 0.2 * factor * gradients[0]
            model.bias -= 0.1 * factor * gradients[1]
        losses.append(loss.item())
    assert result["status"] == "ok"
    assert (
        result["metric"] == result["metrics"]["val_loss"] == pytest.approx(work.evaluate(model)["val_loss"], rel=1e-3)
    )
    assert result["train_loss"] == pytest.approx(sum(losses[-2:]) / 2, rel=1e-4)
    assert [loss for _, loss in result["curve"]] == pytest.approx(losses, rel=1e-4)
    assert result["rates"] == {"weight": 0.2, "bias": 0.1}
    assert (result["steps"], result["probe_seconds"], result["forwards"]) == (40, 0, 0)


@pytest.mark.parametrize("method", ["uniform", "hidlr", "paper"])
def test_seed_decides_all(method: str) -> None:
    first, again, other = (run(seed=seed, method=method)["curve"] for seed in (1, 1, 2))
    assert first == again
    assert first[0] != other[0]
    assert first[0] == run(seed=1, rate=1e-9)["curve"][0]  # the same start for each method


@pytest.mark.parametrize("settings", [{}, {"options": (("every", 5.0),)}, {"options": (("total_steps", "unknown"),)}])
def test_ours_are_told_what_they_cost(settings: dict) -> None:
    result = run(method="hidlr", rate=1e-3, **settings)
    assert (result["status"], result["note"]) == ("ok", "")
    assert 0 < result["probe_seconds"] < result["seconds"]
    assert result["forwards"] > 0
    assert list(result["rates"]) == ["weight", "bias"]
    assert min(result["rates"].values()) > 1e-3


def test_one_group_is_gen() -> None:
    assert list(run(method="paper", groups="all", options=(("every", 4),))["rates"]) == ["all"]


def test_peers_run() -> None:
    pytest.importorskip("dadaptation")
    result = run(method="dadapt", rate=1.0)
    assert result["status"] == "ok"
    assert list(result["rates"]) == ["all"]


def test_heuristics_run() -> None:
    result = execute(RunConfig("digits-vit", "sgd", "bias_x2", 0, 0.1), None, find=two_steps)
    assert result["rates"] == {"bias": 0.2, "rest": 0.1}


def two_steps(name: str, data: object) -> object:
    from dataclasses import replace

    from benchmarks import workloads

    workload = workloads.get(name)
    workload.defaults = replace(workload.defaults, steps=2)
    return workload


def test_divergence_is_a_result() -> None:
    result = run(rate=1e6)
    assert result["status"] == "diverged"
    assert 0 < result["steps"] < 40
    assert result["train_loss"] is None
    assert all(math.isfinite(loss) for _, loss in result["curve"])
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize(
    ("settings", "note"),
    [
        ({"multipliers": (("weihgt", 2.0),)}, "no such group, but weight, bias"),
        ({"method": "prodgy"}, "did you mean 'prodigy'"),
        ({"options": (("overhead", 0.1),)}, "means nothing to method 'uniform'"),
        ({"method": "hidlr", "warmup": 0.1}, "means nothing to method 'hidlr'"),
        ({"method": "hidlr", "options": (("overhed", 0.1),)}, "overhed"),
        ({"method": "dadapt", "schedule": "constant"}, "documented with a linear schedule"),
    ],
)
def test_failure_is_a_result(settings: dict, note: str) -> None:
    result = run(**settings)
    assert result["status"] == "error"
    assert note in result["note"]
    assert result["metric"] is None


def test_absent_data_is_no_result() -> None:
    with pytest.raises(MissingDataError, match=r"absent\.csv"):
        run(workload="absent")
