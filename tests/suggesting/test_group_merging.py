"""Which groups are merged, on estimates made by hand; names; and the error of a ratio against resampling."""

import itertools
import math
import random
import re
import statistics

import pytest

from hidlr.suggesting.merging import Cluster, distance, merge, nearest
from hidlr.suggesting.naming import name_of, unique
from hidlr.suggesting.pairs import Estimate, PairedMeter, estimates


def exact(rate, ppi=1.0, size=1):
    """Slope and curvature of a group with this optimum and influence, measured without error."""
    slope = ppi * size / rate
    return Estimate(slope, slope / rate, size)


def partition(groups, at_most=99, kinds=None):
    found = merge(groups, kinds or dict.fromkeys(groups, 0), at_most)
    return {cluster.members for own in found.values() for cluster in own}


def test_equal_optima_merge_and_others_do_not():
    groups = {"a": exact(1.0), "b": exact(1.0, size=50), "c": exact(3.0), "d": exact(0.01)}
    assert partition(groups) == {("a", "b"), ("c",), ("d",)}


def test_equal_optima_of_unlike_influence_stay_apart_while_there_is_room():
    groups = {"a": exact(1.0, 1.0), "b": exact(1.0, 1e4), "c": exact(1e3, 1.0)}
    assert partition(groups) == {("a",), ("b",), ("c",)}
    assert partition(groups, at_most=2) == {("a", "b"), ("c",)}


def test_the_edge_is_a_factor_of_two_or_of_ten():
    assert distance(exact(1.0), exact(2.0)) == pytest.approx(1)
    assert distance(exact(1.0), exact(1.0, 10.0)) == pytest.approx(1)
    assert partition({"a": exact(1.0), "b": exact(1.99)}) == {("a", "b")}
    assert partition({"a": exact(1.0), "b": exact(2.01)}) == {("a",), ("b",)}


def test_uncertain_rates_count_as_alike():
    # 5 times apart, the error of each log(rate) 1: sqrt(log(2)^2 + 2) is what they are held against.
    noisy = Estimate(1.0, 1.0, 1, slope_error=1.0)
    other = Estimate(1.0, 0.2, 1, slope_error=1.0)
    assert noisy.rate_spread == pytest.approx(1)
    assert noisy.ppi_spread == pytest.approx(2)
    expected = math.sqrt(math.log(5) ** 2 / (math.log(2) ** 2 + 2) + math.log(5) ** 2 / (math.log(10) ** 2 + 8))
    assert distance(noisy, other) == pytest.approx(expected)


def test_the_closest_pair_goes_first():
    rates = {name: exact(rate) for name, rate in zip("abcdef", (1, 3, 100, 300, 1e4, 3e4), strict=True)}
    assert partition(rates, at_most=6) == {(name,) for name in "abcdef"}
    assert partition(rates, at_most=3) == {("a", "b"), ("c", "d"), ("e", "f")}
    assert len(partition(rates, at_most=1)) == 1


def test_a_merged_group_is_what_measuring_it_whole_gives():
    (cluster,) = merge({"a": Estimate(3.0, 2.0, 5), "b": Estimate(1.0, 1.0, 7)}, {"a": 0, "b": 0}, 1)[0]
    assert cluster.estimate.rate == pytest.approx(4 / 3)
    assert cluster.estimate.ppi == pytest.approx(16 / 3 / 12)


def test_kinds_are_never_merged():
    groups = {name: exact(1.0) for name in "abcd"}
    assert partition(groups, 1, {"a": 0, "b": 1, "c": 0, "d": 1}) == {("a", "c"), ("b", "d")}


def test_any_order_gives_the_same():
    draw = random.Random(0)
    groups = {f"g{k}": exact(math.exp(draw.gauss(0, 2)), math.exp(draw.gauss(0, 3))) for k in range(9)}
    groups["twin"] = groups["g3"]
    expected = partition(groups, 4)
    for _ in range(20):
        names = list(groups)
        draw.shuffle(names)
        assert partition({name: groups[name] for name in names}, 4) == expected


def test_groups_that_were_not_measured_join_their_roles_nearest():
    clusters = [
        Cluster(("0/norm", "0/mlp"), exact(1.0)),
        Cluster(("3/norm",), exact(5.0)),
        Cluster(("head",), exact(2.0)),
    ]
    places = {"0/norm": ("norm", 0.1), "0/mlp": ("mlp", 0.1), "3/norm": ("norm", 0.9), "head": ("head", None)}
    for name, place, expected in [
        ("1/norm", ("norm", 0.3), 0),
        ("2/norm", ("norm", 0.6), 1),
        ("3/mlp", ("mlp", 0.9), 0),  # the only one of its role, far as it is
        ("out", ("head", None), 2),
        ("lost", ("other", None), 2),  # no like: the one in the middle
    ]:
        assert nearest(clusters, {**places, name: place}, name) == expected


def test_what_scales_slope_and_curvature_alike_is_no_error():
    pairs = [(2.0 * s, 4.0 * s) for s in (1.0, 0.5, 0.1)]
    one = estimates({"a": pairs}, {"a": 3}, {"a": 0.1})["a"]
    assert one.rate == pytest.approx(0.1 * 2 / 4)
    assert one.rate_spread == pytest.approx(0, abs=1e-12)
    assert one.ppi_spread == pytest.approx(0, abs=1e-12)


def test_the_error_of_the_ratio_of_two_measurements():
    # Off the common ratio 2 by 1/2 of it, both ways: the standard error of a mean of two is 1/2.
    assert estimates({"a": [(1.0, 1.0), (3.0, 1.0)]}, {"a": 1}, {"a": 1.0})["a"].rate_spread == pytest.approx(0.5)


def test_the_error_of_the_ratio_is_that_of_resampling():
    draw = random.Random(1)
    pairs = [(draw.gauss(1.0, 0.4), draw.gauss(2.0, 0.5)) for _ in range(40)]
    one = estimates({"a": pairs}, {"a": 1}, {"a": 1.0})["a"]
    logs = []
    for _ in range(2000):
        again = draw.choices(pairs, k=len(pairs))
        logs.append(math.log(sum(b for b, _ in again) / sum(a for _, a in again)))
    assert one.rate_spread == pytest.approx(statistics.stdev(logs), rel=0.1)


def test_a_single_measurement_has_the_error_of_the_others():
    many = [(1.0, 1.0), (1.2, 0.8), (0.8, 1.2), (1.0, 1.0)]
    found = estimates({"many": many, "one": [(5.0, 5.0)]}, {"many": 1, "one": 1}, {"many": 1.0, "one": 1.0})
    assert found["one"].rate_spread == pytest.approx(2 * found["many"].rate_spread)
    assert estimates({"one": [(5.0, 5.0)]}, {"one": 1}, {"one": 1.0})["one"].rate_spread == 0


def test_groups_without_an_optimum_are_left_out():
    found = {"up": [(-1.0, 1.0)], "bent": [(1.0, -1.0)], "flat": [(1.0, 0.0)], "good": [(1.0, 1.0)]}
    assert set(estimates(found, dict.fromkeys(found, 1), dict.fromkeys(found, 1.0))) == {"good"}


def test_the_meter_pairs_a_curvature_with_the_slope_of_its_step():
    meter = PairedMeter()
    meter.observe("a", 1, slope=1.0)  # a step at which only the slope was seen
    meter.observe("a", 1, curvature=3.0)
    meter.observe("a", 1, slope=2.0, rate=1.0)
    meter.observe("a", 1, slope=9.0)
    meter.observe("a", 1, curvature=4.0, reason="not convex")
    meter.observe("a", 1, slope=5.0)
    assert meter.found == {"a": [(2.0, 3.0)]}
    assert meter.reasons == {"a": ["not convex"]}


PLACES = {
    f"{layer}.{role}.{part}": (role, f"layer_{layer}")
    for layer, role, part in itertools.product(range(4), ("attention", "mlp", "norm"), "xy")
} | {"emb": ("embedding", "embedding"), "head.w": ("head", "head")}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", "all"),
        ("norm", "norm"),
        ("norm|head", "norm + head"),
        (r"^[012]\.mlp", "layer_0..2/mlp"),
        (r"^[02]\.mlp", "layer_0/mlp + layer_2/mlp"),
        (r"^[12]\.", "layer_1..2"),
        (r"^[12]\.|norm", "norm + layer_1..2/attention + layer_1..2/mlp"),
        (r"emb|^0\.norm\.x", "embedding + 0.norm.x"),
        (r"\.x", "0.attention.x + 0.mlp.x + 0.norm.x + 9 more"),
    ],
)
def test_names_say_what_is_in_a_group(pattern, expected):
    assert name_of([name for name in PLACES if re.search(pattern, name)], PLACES) == expected


def test_equal_names_are_told_apart():
    assert unique(["a", "a", "b"], [{"lr": 1}, {"lr": 2}, {"lr": 1}]) == ["a, lr=1", "a, lr=2", "b"]
    assert unique(["a", "a", "a (2)"], [{"lr": 1}] * 3) == ["a", "a (3)", "a (2)"]
