"""Algorithm 1 and its one-group case, GeN, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

import hidlr
from hidlr.engines import AxisEstimator, FullEstimator, Paper
from hidlr.errors import InputError
from support.engines import parabola, view
from support.quadratic import quadratic


def quartic_step(rate, **options):
    """One SGD step on w^4 from w = 1, where the gradient is 4."""
    w = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=rate)
    tuner = hidlr.HiDLR.paper(optimizer, every=1, **options)
    (w**4).backward()
    optimizer.step()
    return tuner.step(lambda: w**4), tuner, w.item()


def gen(minus, zero, plus):
    """xi* of the parabola through three points: (L- - L+) / 2 over (L+ + L- - 2 L0)."""
    return (minus - plus) / 2 / (plus + minus - 2 * zero)


def test_one_group_is_gen():
    # At 0.05 the step is -0.2: 1.2^4 = 2.0736, 1, 0.8^4 = 0.4096, so b = 0.832, A = 0.4832.
    record, tuner, w = quartic_step(0.05)
    target = 0.05 * 0.832 / 0.4832
    rate = 0.9 * 0.05 + 0.1 * target
    assert gen(2.0736, 1.0, 0.4096) == pytest.approx(0.832 / 0.4832, rel=1e-12)
    assert tuner.rates["all"] == pytest.approx(rate, rel=1e-12)
    assert w == pytest.approx(1 - 4 * rate, rel=1e-12)
    assert record.groups[0].slope == pytest.approx(0.832 / 0.05, rel=1e-10)
    assert record.groups[0].curvature == pytest.approx(0.4832 / 0.05**2, rel=1e-10)
    assert record.groups[0].accepted


def test_the_target_is_clipped_above():
    # At 0.01: 1.04^4 = 1.16985856, 0.96^4 = 0.84934656, so xi* = 8.34: clipped to 2.
    assert gen(1.16985856, 1.0, 0.84934656) > 8
    _, tuner, w = quartic_step(0.01)
    assert tuner.rates["all"] == pytest.approx(0.9 * 0.01 + 0.1 * 0.02, rel=1e-12)
    assert w == pytest.approx(1 - 4 * 0.011, rel=1e-12)


def test_the_target_is_clipped_below():
    # At 1 the step is -4: 5^4 = 625, 1, (-3)^4 = 81, so xi* = 272 / 704 = 0.386: clipped to 1/2.
    _, tuner, w = quartic_step(1.0)
    assert tuner.rates["all"] == pytest.approx(0.95, rel=1e-12)
    assert w == pytest.approx(1 - 4 * 0.95, rel=1e-12)


def test_without_smoothing_and_clip_the_step_is_newtons():
    _, tuner, _ = quartic_step(0.01, smoothing=0.0, clip=100.0)
    assert tuner.rates["all"] == pytest.approx(0.01 * gen(1.16985856, 1.0, 0.84934656), rel=1e-9)


def test_the_horizon_multiplies_the_result():
    # Step 1 of 2 runs at half the tuned rate; the loss is w^2 / 2, whose best rate is 1 everywhere.
    w = nn.Parameter(torch.ones((), dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.8)
    tuner = hidlr.HiDLR.paper(optimizer, every=1, total_steps=2)
    for _ in range(2):
        optimizer.zero_grad()
        (w**2 / 2).backward()
        optimizer.step()
        tuner.step(lambda: w**2 / 2)
    # Tuned: 0.8, then 0.9 * 0.8 + 0.1 * 1 = 0.82, then 0.9 * 0.82 + 0.1 * 1 = 0.838; factors 1 and 1/2.
    assert w.item() == pytest.approx((1 - 0.82) * (1 - 0.838 / 2), rel=1e-10)
    assert tuner.history[1].groups[0].rate_before == pytest.approx(0.41, rel=1e-12)
    assert tuner.history[1].groups[0].rate_after == pytest.approx(0.419, rel=1e-10)


@pytest.mark.parametrize(
    ("slope", "curvature", "reason"),
    [(1.0, -1.0, "not convex"), (-1.0, 1.0, "not a descent direction")],
)
def test_the_previous_rate_stands_where_the_fit_says_nothing(slope, curvature, reason):
    seen = view(rates=[0.1, 0.1])
    decision = Paper(2).decide(seen, parabola([slope, 1.0], [[curvature, 0.0], [0.0, 2.0]]))
    assert decision.rates[0].item() == 0.1
    assert decision.findings[0].reason == reason
    # The other group's minimum is at half a step.
    assert decision.rates[1].item() == pytest.approx(0.9 * 0.1 + 0.1 * 0.05, rel=1e-10)


def test_a_fit_that_explains_too_little_is_refused():
    def rugged(points):
        return [1.0 + abs(x) ** 0.5 * (-1) ** i for i, (x, _) in enumerate(points)]

    decision = Paper(2).decide(view(rates=[0.1, 0.2]), rugged)
    assert decision.rates.tolist() == [0.1, 0.2]
    assert decision.note == "every fit was refused"
    assert all(found.reason for found in decision.findings.values())
    assert any("R2" in found.reason and "0.99" in found.reason for found in decision.findings.values())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_keeps_the_rates(bad):
    decision = Paper(2).decide(view(rates=[0.1, 0.2]), lambda points: [bad] + [2.0] * (len(points) - 1))
    assert decision.rates.tolist() == [0.1, 0.2]
    assert all(found.reason == "the loss at a probe was not finite" for found in decision.findings.values())


def test_groups_that_do_not_move_are_left_alone():
    seen = view(rates=[0.1, 0.0], slopes=[1.0, float("nan")])
    decision = Paper(2, estimator=AxisEstimator(), smoothing=0).decide(
        seen, lambda points: [1 - x + x * x for x, _ in points]
    )
    assert decision.rates.tolist() == pytest.approx([0.05, 0.0], rel=1e-10)
    assert list(decision.findings) == [0]


def exact_step(estimator, *, coupled):
    model = quadratic((2, 3, 2), coupled=coupled)
    optimizer = torch.optim.SGD(model.groups([0.1, 0.2, 0.05]))
    tuner = hidlr.HiDLR.paper(optimizer, every=1, smoothing=0.0, clip=1e6, min_r2=-1e9, estimator=estimator)
    start = model.vector().detach()
    model().backward()
    optimizer.step()
    slope, curvature = model.model(start, model.vector().detach() - start)
    tuner.step(model)
    return torch.tensor(list(tuner.rates.values())), slope, curvature


def test_the_diagonal_rule_is_b_over_a():
    rates, slope, curvature = exact_step(None, coupled=False)
    expected = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64) * slope / curvature.diagonal()
    torch.testing.assert_close(rates.double(), expected, rtol=1e-6, atol=0)


def test_the_full_rule_is_the_inverse_of_a_times_b():
    rates, slope, curvature = exact_step(FullEstimator(), coupled=True)
    xi = torch.linalg.solve(curvature, slope)
    # Groups that the full solve would walk backwards keep their rate.
    expected = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64) * torch.where(xi > 0, xi, 1.0)
    assert (xi > 0).sum() >= 2
    torch.testing.assert_close(rates.double(), expected, rtol=1e-6, atol=0)


def test_period():
    assert [step for step in range(25) if Paper(1).due(step)] == [0, 10, 20]
    assert [step for step in range(45) if Paper(2).due(step)] == [0, 20, 40]
    assert [step for step in range(9) if Paper(2, every=4).due(step)] == [0, 4, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0: the period is at least 1"),
        ({"clip": 0.5}, "clip=0.5: .* at least 1"),
        ({"smoothing": 1.0}, r"smoothing=1.0: .* in \[0, 1\)"),
        ({"smoothing": -0.1}, r"smoothing=-0.1: .* in \[0, 1\)"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(InputError, match=message):
        Paper(2, **options)
