import json
import math

import pytest

from hidlr.engines.guard import Guard


def after(*losses):
    guard = Guard()
    for loss in losses:
        guard.watch(loss)
    return guard


def test_the_opening_is_never_cut_short():
    guard = Guard()
    assert [guard.watch(10.0**n) for n in range(Guard.opening)] == [1.0] * Guard.opening


def test_a_loss_that_falls_or_stays_is_left_alone():
    guard = after(*[2.0] * Guard.opening)
    assert [guard.watch(loss) for loss in (2.0, 1.5, 2.1, 1.0, 2.15, 0.1)] == [1.0] * 6


def test_halves_once_the_average_and_the_loss_lie_above_the_limit():
    # Opening mean 2, deviation 0: the limit is 2.2. The average after one 3.0 is
    # (0.7 (1 - 0.7^8) 2 + 0.3 * 3) / (1 - 0.7^9) = 2.313 > 2.2.
    guard = after(*[2.0] * Guard.opening)
    assert guard.watch(2.3) == 1.0  # average 2.094
    guard = after(*[2.0] * Guard.opening)
    assert guard.watch(3.0) == 0.5
    # Back below the limit: left alone although the average is still above.
    assert guard.watch(2.1) == 1.0


def test_noise_of_the_opening_widens_the_limit():
    # Mean 2, deviation sqrt(8/7) = 1.069 (losses 1 and 3 in turn): the limit is 2 + 4 * 1.069 = 6.28.
    guard = after(*[1.0, 3.0] * 4)
    assert [guard.watch(loss) for loss in [4.0, 6.2] * 15] == [1.0] * 30
    assert [guard.watch(7.0) for _ in range(30)].count(0.5) > 0


def test_negative_losses_have_a_limit_above_them():
    guard = after(*[-10.0] * Guard.opening)
    assert guard.watch(-9.5) == 1.0
    assert guard.watch(5.0) == 0.5


def test_halves_at_most_six_times_in_a_row_and_twelve_in_a_run():
    guard = after(*[1.0] * Guard.opening)
    assert [guard.watch(100.0) for _ in range(20)].count(0.5) == Guard.most_in_a_row == 6
    for _ in range(5):
        assert [guard.watch(1.0) for _ in range(30)] == [1.0] * 30
        guard.watch(100.0)
        guard.watch(100.0)
    again = [guard.watch(100.0) for _ in range(20)]
    assert again.count(0.5) <= 6
    assert guard.state_dict()["halvings"] == Guard.most == 12


def test_stuck_until_the_loss_has_come_down_by_a_tenth():
    guard = after(*[2.0] * Guard.opening)
    assert guard.stuck
    for _ in range(30):
        guard.watch(1.7)
    assert not guard.stuck


def test_a_descent_that_is_lost_again_is_noticed_far_below_the_start():
    # From 10 down to 1: the limit is 1 + 0.3 * (mean of the opening - 1), though 5 is far below the start.
    guard = after(*[10.0] * Guard.opening, *[1.0] * 40)
    assert [guard.watch(loss) for loss in (3.0, 3.0, 3.0)] == [1.0] * 3
    lost = [guard.watch(5.0) for _ in range(4)]
    assert 0.5 in lost
    # Batches that differ as much as that are no loss of anything.
    noisy = after(*[10.0] * Guard.opening, *[1.0, 5.0] * 20)
    assert [noisy.watch(loss) for loss in (5.0, 5.0, 5.0, 5.0)] == [1.0] * 4


def test_lost_where_the_same_batch_was_far_better_at_the_average():
    guard = after(10.0, 8.0, 3.0)  # a mean of 7 so far
    limit = 2.0 + Guard.lost_at_once * (7.0 - 2.0)
    assert not guard.lost(limit - 0.01, 2.0)
    assert guard.lost(limit + 0.01, 2.0)


def test_an_average_that_is_as_bad_or_unknown_is_nothing_to_go_back_to():
    guard = after(2.0, 1.5, 1.0)
    assert not guard.lost(9.0, 9.0)  # a hard batch, not a bad point
    assert not guard.lost(math.inf, math.nan)
    assert guard.lost(math.nan, 1.0)


def test_a_loss_that_is_not_finite_is_always_left():
    guard = after(2.0, 1.5, 1.0)
    assert [guard.lost(5.0, 1.0) for _ in range(20)].count(True) == Guard.most_in_a_row
    assert all(guard.lost(math.inf, 1.0) for _ in range(20))


def test_beyond_is_another_order_than_start_and_descent():
    guard = after(2.0, 1.5, 1.0)
    assert not guard.beyond(1.0 + Guard.order * 1.5, 1.0)
    assert guard.beyond(1.1 + Guard.order * 1.5, 1.0)
    assert guard.beyond(math.nan, 1.0)
    assert guard.beyond(math.inf, 1.0)


@pytest.mark.parametrize("seen", [3, 8, 12])
def test_continues_from_its_state(seen):
    losses = [2.0, 1.8, 2.3, 2.1, 1.9, 2.0, 2.2, 2.0, 3.0, 9.0, 9.0, 1.0, 30.0, 30.0]
    whole, first, second = Guard(), Guard(), Guard()
    expected = [whole.watch(loss) for loss in losses]
    begun = [first.watch(loss) for loss in losses[:seen]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + [second.watch(loss) for loss in losses[seen:]] == expected
    assert second.state_dict() == whole.state_dict()


def test_next_to_nothing_is_a_thousandth_of_the_start():
    guard = Guard()
    for _ in range(8):
        guard.watch(2.0)
    assert not guard.spent
    for _ in range(40):
        guard.watch(1e-3)
    assert guard.spent
    for _ in range(40):
        guard.watch(3e-3)
    assert not guard.spent
