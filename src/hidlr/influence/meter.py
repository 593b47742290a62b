"""Influence as it accumulates: running means, so that it fits in a checkpoint and in any length of run."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hidlr.history import GroupRecord, StepRecord

__all__ = ["InfluenceMeter", "Moments", "own_decrease"]


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of a stream of numbers (Welford's algorithm)."""

    count: int = 0
    mean: float = 0.0
    spread: float = 0.0

    def add(self, value: float) -> None:
        """Take in one more."""
        self.count += 1
        step = value - self.mean
        self.mean += step / self.count
        self.spread += step * (value - self.mean)

    @property
    def variance(self) -> float:
        """Squared standard error of the mean; nan for fewer than two."""
        return self.spread / (self.count - 1) / self.count if self.count > 1 else math.nan


@dataclass
class _Group:
    size: int = 0
    measured: int = 0
    refused: int = 0
    nonconvex: int = 0
    slope: Moments = field(default_factory=Moments)  # per length of the move
    log_curvature: Moments = field(default_factory=Moments)  # of it per squared length of the move
    last_slope: float = math.nan
    last_curvature: float = math.nan
    decrease: float = 0.0
    per_step: float = 0.0  # decrease per step since the last record


class InfluenceMeter:
    """Takes in measurements one by one; `Influence.of` makes of it what they say so far.

    Example:
        >>> meter = InfluenceMeter()
        >>> meter.observe("bias", 4, slope=2.0, curvature=0.5)
        >>> meter.figures()["ppi"]
        {'bias': 2.0}
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._step: int | None = None

    def add(self, record: StepRecord) -> None:
        """Take in a probe: accepted measurements enter, refused ones are counted."""
        self._pass_steps(1 if self._step is None else record.step - self._step)
        self._step = record.step
        for group in record.groups:
            self._add(group)

    def observe(
        self,
        name: str,
        size: int,
        *,
        slope: float | None = None,
        curvature: float | None = None,
        reason: str = "",
        rate: float | None = None,
        move: float = 1.0,
    ) -> None:
        """Take in a measurement by hand; slope and curvature may come at different times.

        Args:
            name: the group's.
            size: its trainable entries, d_k.
            slope: b_k (loss per unit of rate).
            curvature: A_kk (loss per unit of rate squared).
            reason: why the curvature was refused; it is then counted and not used.
            rate: at which one step is taken, for `Influence.decrease`.
            move: squared length of the group's step at a rate of 1. With it, steps of different lengths weigh alike,
                and slopes and curvatures may be of different steps; leave it out where the unit of all is the same.
        """
        own = self._groups.setdefault(name, _Group())
        own.size = max(own.size, size)  # a frozen group counts no entries
        if slope is not None and math.isfinite(slope):
            own.slope.add(slope / math.sqrt(move))
            own.last_slope = slope
        if not reason and curvature is not None and curvature <= 0:
            reason = "not convex"
        if reason:
            own.refused += 1
            own.nonconvex += reason == "not convex"
        elif curvature is not None:
            own.measured += 1
            own.log_curvature.add(math.log(curvature) - math.log(move))
            own.last_curvature = curvature
        if rate is not None:
            own.decrease += own_decrease(own.last_slope, own.last_curvature, rate)

    def figures(self) -> dict[str, dict[str, Any]]:
        """The numbers of an `Influence`, by the name of its field.

        Curvatures of one group differ by factors from batch to batch, so that their geometric mean is the steady one.
        The error is that of b^2/A to first order, slopes and curvatures taken as independent, which errs on the safe
        side: along a gradient both grow together.
        """
        ppi, total, error = {}, {}, {}
        for name, own in self._groups.items():
            slope = own.slope.mean
            if own.slope.count and own.log_curvature.count and slope > 0:
                total[name] = slope * (slope / math.exp(own.log_curvature.mean)) / 2
                if own.size:
                    ppi[name] = 2 * total[name] / own.size
                    relative = math.sqrt(4 * own.slope.variance / slope**2 + own.log_curvature.variance)
                    if math.isfinite(relative):
                        error[name] = ppi[name] * relative
        groups = self._groups.items()
        return {
            "ppi": ppi,
            "total": total,
            "sizes": {name: own.size for name, own in groups},
            "measured": {name: own.measured for name, own in groups},
            "refused": {name: own.refused for name, own in groups},
            "nonconvex": {name: own.nonconvex for name, own in groups},
            "error": error,
            "decrease": {name: own.decrease + own.per_step for name, own in groups},
        }

    def _add(self, group: GroupRecord) -> None:
        usable = group.accepted and group.slope is not None and group.curvature is not None
        self.observe(
            group.name,
            group.size,
            slope=group.slope if usable else None,
            curvature=group.curvature if usable else None,
            reason="" if group.accepted else group.reason,
        )
        own = self._groups[group.name]
        rate = group.rate_after if group.size else 0.0
        own.per_step = own_decrease(own.last_slope, own.last_curvature, rate)

    def _pass_steps(self, steps: int) -> None:
        """Count the decrease since the last record, which stands for all steps up to this one."""
        for own in self._groups.values():
            own.decrease += own.per_step * max(steps, 1)
            own.per_step = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers keyed by group name."""
        return {"step": self._step, "groups": {name: asdict(own) for name, own in self._groups.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        groups = {}
        for name, own in state["groups"].items():
            moments = {key: Moments(**own[key]) for key in ("slope", "log_curvature")}
            groups[str(name)] = _Group(**{**own, **moments})
        self._groups, self._step = groups, state["step"]


def own_decrease(slope: float, curvature: float, rate: float) -> float:
    """What one step at a rate takes off the loss by the group's own parabola (2.1); 0 where it is not known."""
    found = slope * rate - curvature * rate * rate / 2
    return found if math.isfinite(found) else 0.0
