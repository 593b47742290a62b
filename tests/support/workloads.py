"""What every workload promises, as assertions, and data that a test may lack."""

import math

import pytest
import torch

from hidlr.workloads import Workload


def require_files(*files: str) -> None:
    """Skip the test where the folder that HIDLR_DATA names lacks a file: tests download nothing."""
    from benchmarks.data import data_folder

    folder = data_folder()
    absent = [file for file in files if folder is None or not (folder / file).exists()]
    if absent:
        pytest.skip(f"needs {', '.join(absent)} in the folder that HIDLR_DATA names")


def assert_model_depends_on_seed_alone(workload: Workload, *, fixed: bool = False) -> None:
    """Same seed, same parameters; another seed gives others, unless they are `fixed`."""
    first, again, other = (workload.build(seed).state_dict() for seed in (3, 3, 4))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert fixed or any(not torch.equal(first[name], other[name]) for name in first)


def assert_batches_depend_on_step_and_seed_alone(
    workload: Workload, steps: tuple[int, ...], *, fixed: bool = False
) -> None:
    """Whatever the order they are asked for in; another seed gives others, unless they are `fixed`."""
    forwards = [workload.batch(step, 1) for step in steps]
    backwards = [workload.batch(step, 1) for step in reversed(steps)][::-1]
    torch.testing.assert_close(forwards, backwards, rtol=0, atol=0)
    assert fixed or not torch.equal(forwards[0][-1], workload.batch(steps[0], 2)[-1])
    assert fixed or not torch.equal(forwards[0][0], workload.batch(steps[0], 2)[0])


def assert_loss_metrics_and_mode(workload: Workload) -> None:
    """A scalar loss that every parameter has a gradient of; finite metrics; evaluation gives back the mode."""
    model = workload.build(0)
    loss = workload.loss(model, workload.batch(0, 0))
    loss.backward()
    assert loss.ndim == 0
    assert all(parameter.grad is not None for parameter in model.parameters())
    metrics = workload.evaluate(model)
    assert {workload.metric_name, workload.test_name} <= set(metrics)
    assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
    assert model.training
    assert workload.evaluate(model.eval()) == metrics
    assert not model.training
