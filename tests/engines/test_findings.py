import pytest
import torch

from hidlr.engines.findings import finding, findings_of
from hidlr.fit import QuadraticFit
from support.engines import view

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("slope", "curvature", "size", "noise", "reason"),
    [
        (1.0, 2.0, 1.0, 0.0, ""),
        (1.0, 2.0, 1.0, 1e-3, ""),
        (-1.0, 2.0, 1.0, 0.0, "not a descent direction"),
        (0.0, 2.0, 1.0, 0.0, "not a descent direction"),
        (1.0, -2.0, 1.0, 0.0, "not convex"),
        # The bend over the probe, A h^2 / 2, is 1e-4: that is 10 times the noise, not 30.
        (1.0, 2.0, 1e-2, 1e-5, "curvature below the noise of the loss"),
        (1.0, -2.0, 1e-2, 1e-5, "curvature below the noise of the loss"),
        (1e-4, 2e-4, 1.0, 1e-5, "below the noise of the loss"),
        (NAN, 1.0, 1.0, 0.0, "the loss at a probe was not finite"),
        (1.0, INF, 1.0, 0.0, "the loss at a probe was not finite"),
        (-INF, NAN, 1.0, 0.0, "the loss at a probe was not finite"),
    ],
)
def test_finding(slope, curvature, size, noise, reason):
    found = finding(slope, curvature, size, noise)
    assert found.reason == reason
    assert found.noise == noise


def test_a_larger_probe_rises_above_the_same_noise():
    assert finding(1.0, 2.0, 1e-2, 1e-5).reason == "curvature below the noise of the loss"
    assert finding(1.0, 2.0, 1e-1, 1e-5).reason == ""


def test_groups_that_did_not_move_have_no_finding():
    fit = QuadraticFit(torch.ones(3, dtype=torch.float64), torch.eye(3, dtype=torch.float64), 1.0)
    found = findings_of(fit, view(rates=[1.0, 0.0, 1.0], slopes=[1.0, 1.0, NAN]))
    assert list(found) == [0]
    assert (found[0].slope, found[0].curvature) == (1.0, 1.0)
