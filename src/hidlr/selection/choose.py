"""Which items fit a budget best: pure functions of values and sizes."""

from collections.abc import Sequence

__all__ = ["greedy", "knapsack"]

_NODES = 200_000  # of the search; what it has found by then is at least as good as greedy


def greedy(values: Sequence[float], sizes: Sequence[int], room: int) -> list[int]:
    """Indices by value, the highest first, each that still fits.

    Example:
        >>> greedy([3.0, 2.0, 1.0], [5, 9, 2], room=8)
        [0, 2]
    """
    chosen = []
    for k in sorted(range(len(values)), key=lambda k: (-values[k], k)):
        if sizes[k] <= room:
            chosen.append(k)
            room -= sizes[k]
    return sorted(chosen)


def knapsack(values: Sequence[float], sizes: Sequence[int], room: int) -> list[int]:
    """Indices whose values add up to most within the room.

    Branch and bound, the bound being what fractions of items would give; exact unless many items are
    so alike that the search is cut off, where it is no worse than greedy by value per size.

    Example:
        >>> knapsack([6.0, 5.0, 5.0], [6, 5, 5], room=10)
        [1, 2]
    """
    # What takes no room comes first: the bound looks no further than the first that does not fit.
    fitting = (k for k in range(len(values)) if sizes[k] <= room)
    order = sorted(fitting, key=lambda k: (sizes[k] > 0, -values[k] / max(sizes[k], 1)))
    start = [order[k] for k in greedy([-float(k) for k in range(len(order))], [sizes[k] for k in order], room)]
    best, best_value = start, sum(values[k] for k in start)

    def bound(place: int, left: int) -> float:
        most = 0.0
        for k in order[place:]:
            if sizes[k] > left:
                return most + values[k] * left / sizes[k]
            most, left = most + values[k], left - sizes[k]
        return most

    # Depth first with a stack of its own: recursion would go as deep as there are items.
    todo: list[tuple[int, int, float, tuple[int, ...]]] = [(0, room, 0.0, ())]
    for _ in range(_NODES):
        if not todo:
            break
        place, left, value, chosen = todo.pop()
        if value > best_value:
            best, best_value = list(chosen), value
        if place == len(order) or value + bound(place, left) <= best_value:
            continue
        k = order[place]
        todo.append((place + 1, left, value, chosen))
        if sizes[k] <= left:
            todo.append((place + 1, left - sizes[k], value + values[k], (*chosen, k)))
    return sorted(best)
