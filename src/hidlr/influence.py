"""Which groups matter: how far each lowers the loss, in all and per parameter."""

from collections.abc import Iterable
from dataclasses import dataclass

from hidlr.history import StepRecord

__all__ = ["Influence"]


@dataclass(frozen=True)
class Influence:
    """Influence of each group, keyed by its name.

    From Xu et al., arXiv 2501.06954, section 5.1. Only groups with an accepted, convex measurement
    have an entry in `ppi` and `total`; every group has one in `sizes`, `measured` and `refused`.

    Attributes:
        ppi: per-parameter influence b_k^2 / (A_kk d_k) (loss per parameter).
        total: decrease of the loss that the group alone offers at its optimum, b_k^2 / (2 A_kk) (loss).
        sizes: trainable entries of each group, d_k.
        measured: accepted measurements of each group.
        refused: refused measurements of each group.
    """

    ppi: dict[str, float]
    total: dict[str, float]
    sizes: dict[str, int]
    measured: dict[str, int]
    refused: dict[str, int]

    @classmethod
    def from_records(cls, records: Iterable[StepRecord]) -> "Influence":
        """Average slope and curvature over a run's accepted probes, then take their ratio.

        The ratio of averages is far less noisy than the average of ratios: a single measurement's
        curvature may be close to zero.

        Example:
            >>> from hidlr.history import GroupRecord
            >>> record = StepRecord(0, "", (GroupRecord("bias", 4, 1.0, 1.0, 2.0, 0.5, 1e-6, True),))
            >>> Influence.from_records([record]).ppi
            {'bias': 2.0}
        """
        slopes: dict[str, list[float]] = {}
        curvatures: dict[str, list[float]] = {}
        sizes: dict[str, int] = {}
        refused: dict[str, int] = {}
        for group in (group for record in records for group in record.groups):
            name = group.name
            sizes[name] = group.size
            refused.setdefault(name, 0)
            slopes.setdefault(name, [])
            curvatures.setdefault(name, [])
            if group.accepted and group.slope is not None and group.curvature is not None:
                slopes[name].append(group.slope)
                curvatures[name].append(group.curvature)
            elif group.reason:
                refused[name] += 1
        total = {}
        for name, values in slopes.items():
            slope, curvature = _mean(values), _mean(curvatures[name])
            if values and curvature > 0:
                total[name] = slope * (slope / curvature) / 2
        return cls(
            ppi={name: 2 * value / sizes[name] for name, value in total.items() if sizes[name]},
            total=total,
            sizes=sizes,
            measured={name: len(values) for name, values in slopes.items()},
            refused=refused,
        )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
