import pytest
import torch

import hidlr
from hidlr.engines import Fixed
from hidlr.history import GroupRecord, StepRecord
from hidlr.influence import Influence
from support.quadratic import quadratic


def accepted(name, size, slope, curvature):
    return GroupRecord(name, size, 1.0, 1.0, slope, curvature, 0.0, True)


def test_by_hand():
    record = StepRecord(0, "", (accepted("a", 10, 3.0, 2.0), accepted("b", 4, 1.0, 8.0)))
    influence = Influence.from_records([record])
    # b^2 / (2 A) and b^2 / (A d).
    assert influence.total == pytest.approx({"a": 2.25, "b": 0.0625})
    assert influence.ppi == pytest.approx({"a": 0.45, "b": 0.03125})
    assert influence.sizes == {"a": 10, "b": 4}
    assert influence.measured == {"a": 1, "b": 1}
    assert influence.refused == {"a": 0, "b": 0}


def test_averages_come_before_the_ratio():
    records = [StepRecord(0, "", (accepted("a", 1, 1.0, 2.0),)), StepRecord(1, "", (accepted("a", 1, 3.0, 8.0),))]
    # Means 2 and, geometric, 4, so 4 / 8; the mean of ratios would be (1/4 + 9/16) / 2.
    assert Influence.from_records(records).total == pytest.approx({"a": 0.5})


def test_refused_measurements_count_but_do_not_enter():
    refused = GroupRecord("a", 2, 1.0, 1.0, 100.0, 1.0, 0.0, False, "below the noise of the loss")
    unmeasured = GroupRecord("b", 2, 1.0, 1.0)
    influence = Influence.from_records(
        [StepRecord(0, "", (refused, unmeasured)), StepRecord(1, "", (accepted("a", 2, 2.0, 1.0), unmeasured))]
    )
    assert influence.total == pytest.approx({"a": 2.0})
    assert influence.measured == {"a": 1, "b": 0}
    assert influence.refused == {"a": 1, "b": 0}
    assert influence.sizes == {"a": 2, "b": 2}


def test_a_curvature_that_is_not_convex_is_left_out_whoever_accepted_it():
    records = [StepRecord(k, "", (accepted("a", 1, 1.0, c),)) for k, c in enumerate([0.5, -3.0])]
    influence = Influence.from_records(records)
    assert influence.total == pytest.approx({"a": 1.0})
    assert (influence.measured, influence.refused, influence.nonconvex) == ({"a": 1}, {"a": 1}, {"a": 1})


def test_an_empty_group_has_no_share_per_parameter():
    influence = Influence.from_records([StepRecord(0, "", (accepted("a", 0, 1.0, 1.0),))])
    assert influence.ppi == {}


def test_no_records():
    assert Influence.from_records([]) == Influence({}, {}, {}, {}, {})


@pytest.mark.parametrize("rate", [0.1, 1e-3])
def test_of_a_quadratic_it_is_the_decrease_at_the_optimum_whatever_the_rate(rate):
    model = quadratic((3, 2), coupled=False)
    optimizer = torch.optim.SGD(model.groups(rate))
    tuner = hidlr.HiDLR(optimizer, schedule="constant", engine=Fixed(every=1))
    gradient = model.gradient + model.hessian @ model.vector().detach()
    model().backward()
    optimizer.step()
    tuner.step(model)
    first = 0
    for k, size in enumerate(model.sizes):
        g, h = gradient[first : first + size], model.hessian[first : first + size, first : first + size]
        # A step of length t along -g lowers the loss by t g.g - t^2 g.Hg / 2, at best (g.g)^2 / (2 g.Hg).
        best = (g @ g) ** 2 / (2 * g @ h @ g)
        assert tuner.influence().total[f"part{k}"] == pytest.approx(best.item(), rel=1e-6)
        assert tuner.influence().ppi[f"part{k}"] == pytest.approx(2 * best.item() / size, rel=1e-6)
        first += size
