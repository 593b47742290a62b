import pytest
import torch
from torch import nn

from hidlr.displacement import Displacement
from hidlr.errors import InputError
from support.traces import assert_equal


def step_by(parameters, moves):
    """Stands for a base step: w' = w + move."""
    with torch.no_grad():
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.add_(move)


def moved_pair(dtype=torch.float64):
    """Two groups that went from (1, 2), (3) to (1.5, 1), (3.25); every number has an exact float."""
    first = nn.Parameter(torch.tensor([1.0, 2.0], dtype=dtype))
    second = nn.Parameter(torch.tensor([3.0], dtype=dtype))
    displacement = Displacement([[first], [second]])
    step_by([first, second], [torch.tensor([0.5, -1.0], dtype=dtype), torch.tensor([0.25], dtype=dtype)])
    displacement.finish()
    return displacement, first, second


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.0, 0.0), ([1.0, 2.0], [3.0])),
        ((1.0, 1.0), ([1.5, 1.0], [3.25])),
        ((0.5, 2.0), ([1.25, 1.5], [3.5])),
        ((-1.0, -2.0), ([0.5, 3.0], [2.5])),
        ((4.0, 0.0), ([3.0, -2.0], [3.0])),
    ],
)
def test_place_is_the_line_through_both_ends(dtype, point, expected):
    displacement, first, second = moved_pair(dtype)
    displacement.place(point)
    assert first.tolist() == expected[0]
    assert second.tolist() == expected[1]
    assert first.dtype is dtype


def test_squares_are_squared_lengths_of_the_moves():
    displacement, _, _ = moved_pair()
    assert displacement.squares() == pytest.approx([0.5**2 + 1.0**2, 0.25**2])
    small = nn.Parameter(torch.zeros(2, dtype=torch.float16))
    displacement = Displacement([[small]])
    step_by([small], [torch.full((2,), 2.0**-14, dtype=torch.float16)])
    assert displacement.squares() == pytest.approx([2 * 2.0**-28])
    still = Displacement([[nn.Parameter(torch.ones(3))], []])
    assert still.squares() == [0.0, 0.0]


def test_both_ends_are_bit_exact_after_any_walk():
    groups = [[nn.Parameter(torch.randn(31))], [nn.Parameter(torch.randn(7, 5)), nn.Parameter(torch.randn(()))]]
    flat = [p for group in groups for p in group]
    start = [p.detach().clone() for p in flat]
    displacement = Displacement(groups)
    step_by(flat, [1e-3 * torch.randn_like(p) for p in flat])
    end = [p.detach().clone() for p in flat]
    displacement.finish()
    for _ in range(200):
        displacement.place(torch.randn(2).tolist())
    displacement.place([0.0, 1.0])
    assert_equal([p.detach() for p in flat], [start[0], *end[1:]])
    displacement.place([1.0, 0.0])
    assert_equal([p.detach() for p in flat], [end[0], *start[1:]])


def test_a_point_does_not_depend_on_the_one_before():
    displacement, first, _ = moved_pair()
    displacement.place([0.3, 0.7])
    direct = first.detach().clone()
    displacement.place([123.4, -5.0])
    displacement.place([0.3, 0.7])
    assert_equal(first.detach(), direct)


def test_far_points_keep_float64_precision():
    displacement, first, second = moved_pair()
    displacement.place([1e6, -1e6])
    torch.testing.assert_close(
        first.detach(), torch.tensor([1 + 0.5e6, 2 - 1e6], dtype=torch.float64), rtol=1e-15, atol=0
    )
    torch.testing.assert_close(second.detach(), torch.tensor([3 - 0.25e6], dtype=torch.float64), rtol=1e-15, atol=0)


def test_slopes_are_minus_gradient_times_move():
    first, second = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor([[3.0]]))
    displacement = Displacement([[first], [second]])
    step_by([first, second], [torch.tensor([0.5, -1.0]), torch.tensor([[0.25]])])
    first.grad, second.grad = torch.tensor([4.0, 3.0]), torch.tensor([[-2.0]])
    # -(4 * 0.5 + 3 * -1) and -(-2 * 0.25)
    assert displacement.slopes() == [1.0, 0.5]


def test_slope_is_summed_in_float64():
    parameter = nn.Parameter(torch.zeros(3))
    displacement = Displacement([[parameter]])
    step_by([parameter], [torch.ones(3)])
    parameter.grad = torch.tensor([1e8, 1.0, -1e8])  # float32 sums to 0
    assert displacement.slopes() == [-1.0]


def test_slope_of_a_group_that_did_not_move_is_nan_and_missing_gradients_count_as_zero():
    still, moved, decayed = (nn.Parameter(torch.ones(2)) for _ in range(3))
    displacement = Displacement([[still], [moved, decayed], []])
    step_by([moved, decayed], [torch.full((2,), -1.0), torch.full((2,), -0.1)])
    still.grad, moved.grad = torch.ones(2), torch.full((2,), 3.0)
    slopes = displacement.slopes()
    assert slopes[0] != slopes[0]
    assert slopes[1] == 6.0
    assert slopes[2] != slopes[2]


def test_groups_and_dtypes_may_mix():
    exact, coarse = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    displacement = Displacement([[exact, coarse]])
    step_by([exact, coarse], [torch.full((2,), 0.5), torch.full((2,), -0.5, dtype=torch.bfloat16)])
    exact.grad, coarse.grad = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
    assert displacement.slopes() == [0.0]
    displacement.finish()
    displacement.place([2.0])
    assert exact.tolist() == [2.0, 2.0]
    assert coarse.tolist() == [0.0, 0.0]
    assert coarse.dtype is torch.bfloat16


def test_memory_format_survives():
    parameter = nn.Parameter(torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last))
    before = parameter.detach().clone()
    displacement = Displacement([[parameter]])
    step_by([parameter], [torch.ones_like(parameter)])
    displacement.finish()
    displacement.place([0.0])
    assert parameter.is_contiguous(memory_format=torch.channels_last)
    assert_equal(parameter.detach(), before)
    displacement.place([3.0])
    torch.testing.assert_close(parameter.detach(), before + 3, rtol=1e-6, atol=1e-6)


def test_placing_neither_replaces_nor_records():
    displacement, first, _ = moved_pair()
    address = first.data_ptr()
    displacement.place([0.5, 0.5])
    assert first.data_ptr() == address
    assert first.is_leaf
    assert first.requires_grad
    assert first.grad_fn is None


def test_place_before_finish_says_so():
    displacement = Displacement([[nn.Parameter(torch.ones(1))]])
    with pytest.raises(InputError, match=r"before finish\(\)"):
        displacement.place([0.0])


def test_a_point_of_the_wrong_length_says_how_many():
    displacement, _, _ = moved_pair()
    with pytest.raises(InputError, match="needs 2 entries, one per group; got 3"):
        displacement.place([0.0, 0.0, 0.0])


def test_a_parameter_listed_twice_is_moved_once():
    # torch only warns of duplicates within a group.
    parameter = nn.Parameter(torch.ones(2))
    displacement = Displacement([[parameter, parameter]])
    step_by([parameter], [torch.ones(2)])
    parameter.grad = -torch.ones(2)
    assert displacement.slopes() == [2.0]
    displacement.finish()
    displacement.place([3.0])
    assert parameter.tolist() == [4.0, 4.0]


def test_no_groups_at_all():
    displacement = Displacement([])
    assert displacement.slopes() == []
    displacement.finish()
    displacement.place([])
