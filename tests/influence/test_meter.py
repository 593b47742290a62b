"""Running means against plain ones, errors against repetition, decreases by hand."""

import json
import math

import pytest
import torch

from hidlr.history import GroupRecord, StepRecord
from hidlr.influence import Influence, InfluenceMeter


def group(slope, curvature, *, rate=0.5, size=4, reason=""):
    return GroupRecord("a", size, rate, rate, slope, curvature, 0.0, not reason, reason)


def test_means_and_error_are_those_of_a_list():
    b, a = [1.0, 2.0, 4.5], [3.0, 2.0, 7.0]
    found = Influence.from_records(
        [StepRecord(k, "", (group(*pair),)) for k, pair in enumerate(zip(b, a, strict=True))]
    )
    slopes, curvatures = torch.tensor(b, dtype=torch.float64), torch.tensor(a, dtype=torch.float64)
    ppi = slopes.mean() ** 2 / curvatures.log().mean().exp() / 4
    relative = (4 * slopes.var() / 3 / slopes.mean() ** 2 + curvatures.log().var() / 3).sqrt()
    assert found.ppi["a"] == pytest.approx(ppi.item(), rel=1e-12)
    assert found.error["a"] == pytest.approx((ppi * relative).item(), rel=1e-12)


def test_the_error_is_the_spread_over_repetitions():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(2000, 24, 2, generator=generator, dtype=torch.float64)
    found, errors = [], []
    for run in draws:
        meter = InfluenceMeter()
        for one, other in run.tolist():
            meter.observe("a", 1, slope=2 + 0.3 * one, curvature=3 + 0.5 * other)
        figures = meter.figures()
        found.append(figures["ppi"]["a"])
        errors.append(figures["error"]["a"])
    assert torch.tensor(errors).mean().item() == pytest.approx(torch.tensor(found).std().item(), rel=0.1)


def test_steps_of_any_length_say_the_same():
    even, uneven = InfluenceMeter(), InfluenceMeter()
    for k, (slope, curvature) in enumerate([(1.0, 3.0), (2.0, 5.0), (1.5, 8.0)]):
        length = 10.0 ** (k - 2)
        even.observe("a", 1, slope=slope, curvature=curvature)
        # Slopes and curvatures need not be of the same steps.
        uneven.observe("a", 1, slope=slope * length, move=length**2)
        uneven.observe("a", 1, curvature=curvature / length**2, move=length**-2)
    assert uneven.figures()["ppi"] == pytest.approx(even.figures()["ppi"], rel=1e-12)
    assert uneven.figures()["error"] == pytest.approx(even.figures()["error"], rel=1e-12)


def test_one_measurement_has_no_error():
    assert Influence.from_records([StepRecord(0, "", (group(1.0, 1.0),))]).error == {}


def test_decrease_is_summed_at_the_rates_really_used():
    records = [
        StepRecord(0, "", (group(2.0, 1.0, rate=0.5),)),  # 2 * .5 - .125 = .875 a step, for three steps
        StepRecord(3, "", (group(9.0, 9.0, rate=1.0, reason="not convex"),)),  # refused: the last one stands, 1.5
        StepRecord(4, "", (group(1.0, 2.0, rate=1.0),)),  # 0
        StepRecord(6, "", (group(1.0, 1.0, rate=0.5, size=0),)),  # frozen
    ]
    assert Influence.from_records(records[:1]).decrease["a"] == pytest.approx(0.875)
    assert Influence.from_records(records).decrease["a"] == pytest.approx(3 * 0.875 + 1.5)


def test_refused_and_nonconvex_are_counted_apart():
    records = [
        StepRecord(0, "", (group(1.0, -1.0, reason="not convex"),)),
        StepRecord(1, "", (group(1.0, 1.0, reason="below the noise of the loss"),)),
    ]
    found = Influence.from_records(records)
    assert (found.refused, found.nonconvex, found.measured) == ({"a": 2}, {"a": 1}, {"a": 0})
    assert found.ppi == {}


def test_the_mean_over_the_model_is_weighted_by_size():
    meter = InfluenceMeter()
    meter.observe("a", 2, slope=2.0, curvature=1.0)
    meter.observe("b", 6, slope=2.0, curvature=2.0)
    meter.observe("c", 100)
    found = Influence.of(meter)
    assert found.mean_ppi == pytest.approx((4 + 2) / 8)
    assert found.ranked == ["a", "b"]
    assert math.isnan(Influence.of(InfluenceMeter()).mean_ppi)


def test_a_meter_continues_from_its_state():
    records = [StepRecord(k, "", (group(1.0 + k, 2.0 + k * k),)) for k in range(7)]
    first, second = InfluenceMeter(), InfluenceMeter()
    for record in records[:4]:
        first.add(record)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for record in records[4:]:
        second.add(record)
    assert Influence.of(second) == Influence.from_records(records)
