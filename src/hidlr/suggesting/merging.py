"""Merge groups whose optimum and influence agree: pairwise, closest first; pure."""

import heapq
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from .pairs import Estimate

__all__ = ["Cluster", "distance", "merge", "nearest"]

# Apart by no more than this, two groups are alike even if both are measured exactly. At half its optimum a group still
# takes three quarters off the loss of what it takes at the optimum (b x - A x^2 / 2 at x = b / 2A). Influence sets no
# rate, and spans about four decades in a model.
_RATE, _INFLUENCE = math.log(2), math.log(10)


@dataclass(frozen=True)
class Cluster:
    """Groups that were merged, in alphabetical order, and their common estimate."""

    members: tuple[str, ...]
    estimate: Estimate


def distance(one: Estimate, other: Estimate) -> float:
    """How far apart two groups are: 1 is the edge of what counts as alike.

    Differences of log(b / A) and of log PPI, each over its tolerance and its standard error, add up in squares.
    """
    rate = math.log(one.rate / other.rate) ** 2 / (_RATE**2 + one.rate_spread**2 + other.rate_spread**2)
    ppi = math.log(one.ppi / other.ppi) ** 2 / (_INFLUENCE**2 + one.ppi_spread**2 + other.ppi_spread**2)
    return math.sqrt(rate + ppi)


def merge(
    estimates: Mapping[str, Estimate], kinds: Mapping[str, Hashable], at_most: int
) -> dict[Hashable, list[Cluster]]:
    """Merge the closest pair until none is alike any more and there are few enough.

    A merged group's slope, curvature and size are the sums, so that it is what measuring its members together gives
    where they do not interact. The result does not depend on the order of the groups.

    Args:
        estimates: of each group.
        kinds: only groups of one kind are merged.
        at_most: number of clusters; one of each kind is left in any case.
    """
    alive: dict[int, Cluster] = {}
    of_kind: dict[int, Hashable] = {}
    heap: list[tuple[float, int, int]] = []  # numbers in alphabetical order, so that ties do not depend on the caller's

    def add(number: int, cluster: Cluster, kind: Hashable) -> None:
        for other, own in alive.items():
            if of_kind[other] == kind:
                heapq.heappush(heap, (distance(own.estimate, cluster.estimate), other, number))
        alive[number], of_kind[number] = cluster, kind

    for number, name in enumerate(sorted(estimates)):
        add(number, Cluster((name,), estimates[name]), kinds[name])
    following = len(alive)
    while heap:
        apart, one, other = heapq.heappop(heap)
        if one not in alive or other not in alive:
            continue  # one of them was merged meanwhile
        if apart > 1 and len(alive) <= at_most:
            break
        first, second = alive.pop(one), alive.pop(other)
        together = Cluster(tuple(sorted(first.members + second.members)), first.estimate + second.estimate)
        add(following, together, of_kind[one])
        following += 1
    found: dict[Hashable, list[Cluster]] = {}
    for number, cluster in alive.items():
        found.setdefault(of_kind[number], []).append(cluster)
    return found


def nearest(
    clusters: Sequence[Cluster],
    places: Mapping[str, tuple[str, float | None]],
    name: str,
) -> int:
    """Which cluster a group without a measurement joins: its role's, by depth; else the one of the middle rate.

    Args:
        clusters: of the group's kind; at least one.
        places: role and depth of every group.
        name: the group's.
    """
    role, depth = places[name]
    logs = [math.log(cluster.estimate.rate) for cluster in clusters]
    middle = sorted(logs)[len(logs) // 2]

    def key(index: int) -> tuple[bool, float, float, tuple[str, ...]]:
        likes = [places[member][1] for member in clusters[index].members if places[member][0] == role]
        apart = [abs(depth - like) if depth is not None and like is not None else float(depth is not like)
                 for like in likes]  # fmt: skip
        return not likes, min(apart, default=0.0), abs(logs[index] - middle), clusters[index].members

    return min(range(len(clusters)), key=key)
