"""Greedy and knapsack against all subsets."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from hidlr.selection.choose import greedy, knapsack

ITEMS = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 20)), max_size=9)


@given(ITEMS, st.integers(0, 60))
@example([(6.6, 6), (5.0, 5), (5.0, 5), (4.9, 5), (0.9, 0)], 10)  # the last takes no room and is the least dense
def test_knapsack_is_the_best_of_all_subsets(items, room):
    values, sizes = [v for v, _ in items], [s for _, s in items]
    best = max(
        sum(values[k] for k in subset)
        for count in range(len(items) + 1)
        for subset in itertools.combinations(range(len(items)), count)
        if sum(sizes[k] for k in subset) <= room
    )
    chosen = knapsack(values, sizes, room)
    assert sum(sizes[k] for k in chosen) <= room
    assert abs(sum(values[k] for k in chosen) - best) < 1e-9


@given(ITEMS, st.integers(0, 60))
def test_greedy_takes_the_highest_that_fits(items, room):
    values, sizes = [v for v, _ in items], [s for _, s in items]
    chosen, left, expected = greedy(values, sizes, room), room, []
    for k in sorted(range(len(items)), key=lambda k: -values[k]):
        if sizes[k] <= left:
            expected.append(k)
            left -= sizes[k]
    assert chosen == sorted(expected)


def test_many_items_end_in_time():
    values = [1.0 + 0.001 * (k % 7) for k in range(200)]
    sizes = [10 + k % 5 for k in range(200)]
    chosen = knapsack(values, sizes, 700)
    dense = sorted(range(200), key=lambda k: -values[k] / sizes[k])
    start = [dense[k] for k in greedy([-float(k) for k in range(200)], [sizes[k] for k in dense], 700)]
    assert sum(values[k] for k in chosen) >= sum(values[k] for k in start)
