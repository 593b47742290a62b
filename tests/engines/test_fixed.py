import torch

from hidlr.engines import AxisEstimator, Fixed
from support.engines import parabola, view


def test_it_measures_and_keeps_every_rate():
    seen = view(rates=[0.1, 0.2])
    decision = Fixed(every=1).decide(seen, parabola([1.0, -2.0], [[4.0, 1.0], [1.0, 3.0]]))
    assert torch.equal(decision.rates, seen.rates)
    assert decision.note
    torch.testing.assert_close(
        torch.tensor([[f.slope, f.curvature] for f in decision.findings.values()]),
        torch.tensor([[1.0, 4.0], [-2.0, 3.0]]),
        rtol=1e-6,
        atol=1e-6,
    )
    assert [found.reason for found in decision.findings.values()] == ["", "not a descent direction"]


def test_period():
    assert [step for step in range(12) if Fixed(every=5).due(step)] == [0, 5, 10]


def test_findings_are_judged_at_the_size_they_were_measured_at():
    # A h^2 / 2 = 5e-7 is below 30 times a noise of 1e-7, though A / 2 is not.
    decision = Fixed(1, AxisEstimator(1e-3)).decide(view(rates=[0.1], noise=1e-7), parabola([1.0], [[1.0]]))
    assert decision.findings[0].reason == "curvature below the noise of the loss"
    decision = Fixed(1, AxisEstimator(10.0)).decide(view(rates=[0.1], noise=0.1), parabola([1.0], [[1.0]]))
    assert decision.findings[0].reason == ""


def test_a_probe_that_overflows_is_recorded():
    decision = Fixed(1).decide(view(rates=[0.1]), lambda points: [float("inf")] * len(points))
    assert decision.rates.tolist() == [0.1]
    assert decision.findings[0].reason == "the loss at a probe was not finite"
