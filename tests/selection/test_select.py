"""Which groups are chosen, by hand, and what cannot be asked."""

import pytest

import hidlr
from hidlr.influence import Influence, InfluenceMeter


def influence(**groups):
    """Each group from its size and its total influence; A = 1."""
    meter = InfluenceMeter()
    for name, (size, total) in groups.items():
        if total is None:
            meter.observe(name, size, slope=1.0, reason="not convex")
        else:
            meter.observe(name, size, slope=(2 * total) ** 0.5, curvature=1.0)
    return Influence.of(meter)


#           PPI = 2 total / size:  bias 2, norm 1, mlp .5, head .1, dead none
FOUND = influence(bias=(10, 10.0), norm=(20, 10.0), mlp=(100, 25.0), head=(40, 2.0), dead=(30, None))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"budget": 0.05}, ("bias",)),  # room 10 of 200
        ({"budget": 0.15}, ("bias", "norm")),
        ({"budget": 0.3}, ("bias", "norm")),  # room 60: mlp is too large, head (40) is too
        ({"budget": 0.4}, ("bias", "norm", "head")),  # greedy passes over what does not fit
        ({"budget": 35}, ("bias", "norm")),
        ({"budget": 1.0}, ("bias", "norm", "mlp", "head")),
        ({"budget": 100, "rank": "total"}, ("mlp",)),  # 25 against 22 for the rest together
        ({"budget": 100}, ("bias", "norm", "head")),
        ({"threshold": 1.0}, ("bias", "norm")),  # the model's: 2 * 47 / 170 = .55
        ({"threshold": 0.0}, ("bias", "norm", "mlp", "head")),
        ({"top": 1}, ("bias",)),
        ({"top": 1, "rank": "total"}, ("mlp",)),
        ({"top": 2, "always": ["head"]}, ("bias", "head")),
        ({"budget": 0.25, "always": ["head"]}, ("bias", "head")),
        ({"budget": 0.15, "never": ["b*"]}, ("norm",)),
        ({"budget": 0.2, "always": ["dead"]}, ("bias", "dead")),
    ],
)
def test_what_is_kept(options, kept):
    selection = hidlr.select(FOUND, **options)
    assert selection.kept == kept
    assert set(selection.kept) | set(selection.frozen) == set(FOUND.sizes)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({}, hidlr.InputError, "exactly one"),
        ({"budget": 0.1, "top": 2}, hidlr.InputError, "exactly one"),
        ({"budget": 0}, hidlr.InputError, "budget=0"),
        ({"budget": 0.0}, hidlr.InputError, "budget=0.0"),
        ({"budget": 1.5}, hidlr.InputError, "budget=1.5"),
        ({"budget": float("nan")}, hidlr.InputError, "budget=nan"),
        ({"budget": "1%"}, hidlr.InputTypeError, "1%"),
        ({"budget": True}, hidlr.InputTypeError, "True"),
        ({"budget": 0.001}, hidlr.InputError, "'bias', has 10"),
        ({"threshold": -1.0}, hidlr.InputError, "threshold=-1.0"),
        ({"threshold": 1.0, "rank": "total"}, hidlr.InputError, "rank"),
        ({"threshold": 1e9}, hidlr.InputError, "no group fits"),
        ({"top": 0}, hidlr.InputError, "top=0"),
        ({"top": 1, "rank": "size"}, hidlr.InputError, "rank='size'"),
        ({"top": 1, "always": ["heads"]}, hidlr.InputError, "did you mean 'head'"),
        ({"top": 1, "never": ["x*"]}, hidlr.InputError, r"never: no group is called 'x\*'"),
        ({"top": 1, "always": "head"}, hidlr.InputTypeError, "list"),
        ({"top": 1, "always": ["head"], "never": ["head"]}, hidlr.InputError, "both"),
        ({"budget": 0.05, "always": ["head"]}, hidlr.InputError, "alone are 40"),
        ({"top": 1, "always": ["head", "norm"]}, hidlr.InputError, "alone are 2 groups"),
        ({"top": 1, "never": ["*"]}, hidlr.InputError, "shorten never"),
    ],
)
def test_bad_input(options, error, named):
    with pytest.raises(error, match=named):
        hidlr.select(FOUND, **options)


def test_nothing_measured_and_all_refused():
    with pytest.raises(hidlr.InputError, match="empty"):
        hidlr.select(Influence.from_records([]), budget=0.1)
    with pytest.raises(hidlr.InputError, match="1 refused, 1 of them not convex"):
        hidlr.select(influence(a=(3, None)), budget=0.1)
    with pytest.raises(hidlr.InputTypeError, match="dict"):
        hidlr.select({"a": 1.0}, budget=0.1)


def test_shares():
    selection = hidlr.select(FOUND, budget=0.15)
    assert selection.parameters == 30
    assert selection.share == pytest.approx(0.15)
    assert selection.share_of_influence == pytest.approx(20 / 47)
    assert selection.rule == "15% of the parameters, by influence per parameter"


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("0.5%", 0.005), ("0.2", 0.2), ("1", 1.0), ("300", 300)])
def test_budgets_as_people_write_them(text, value):
    found = hidlr.selection.parse_budget(text)
    assert found == pytest.approx(value)
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["", "%", "0", "0%", "101%", "1.5", "-3", "much", "nan"])
def test_budgets_that_cannot_be(text):
    with pytest.raises(hidlr.InputError, match=r"budget"):
        hidlr.selection.parse_budget(text)
