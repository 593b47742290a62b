import pytest
import torch

from hidlr.training import RunConfig, train
from hidlr.training.control import UniformRate


def make(steps: int, schedule: str, warmup: float) -> UniformRate:
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "name": name} for name in ("a", "b")])
    return UniformRate(optimizer, rate=2.0, schedule=schedule, steps=steps, warmup=warmup)


@pytest.mark.parametrize(
    ("schedule", "warmup", "factors"),
    [
        ("linear", 0.0, [1, 0.75, 0.5, 0.25]),
        ("constant", 0.0, [1, 1, 1, 1]),
        ("constant", 0.5, [0.5, 1, 1, 1]),
        ("linear", 0.5, [0.5, 1, 1, 0.5]),
        ("cosine", 0.0, [1, 0.853553, 0.5, 0.146447]),
    ],
)
def test_factors(schedule: str, warmup: float, factors: list[float]) -> None:
    control = make(4, schedule, warmup)
    seen = []
    for _ in range(4):
        assert set(control.rates) == {"a", "b"}
        assert control.rates["a"] == control.rates["b"]
        seen.append(control.rates["a"] / 2.0)
        assert control.step(lambda: torch.zeros(())) is None
    assert seen == pytest.approx(factors, abs=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.001, 0.3, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_rate_is_always_above_zero_and_never_above_the_peak(steps: int, warmup: float) -> None:
    control = make(steps, "linear", warmup)
    assert all(0 < control.factor(step) <= 1 for step in range(steps))


def test_matches_torch_schedulers_step_by_step() -> None:
    """A slow, independent reference: torch's own warm-up and decay around the same loop."""
    from hidlr import workloads

    workload = workloads.get("diabetes")
    model = workload.build(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (step + 1) / 3 if step < 3 else (30 - step) / 27
    )
    for step in range(30):
        optimizer.zero_grad()
        workload.loss(model, workload.batch(step, 0)).backward()
        optimizer.step()
        scheduler.step()
    result = train(RunConfig("diabetes", rate=1e-2, warmup=0.1, steps=30))
    assert result.final == pytest.approx(workload.evaluate(model), rel=1e-5)
    assert result.probe_seconds == 0
    assert result.summary is None
