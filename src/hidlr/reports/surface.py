"""The function a 2-D workload descends, sampled on a grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hidlr.reports.thin import Floats

__all__ = ["Surface"]


@dataclass(frozen=True)
class Surface:
    """A function of two parameters.

    Attributes:
        name: what it is called.
        xlim: shown range of the first parameter.
        ylim: shown range of the second parameter.
        x: grid of the first parameter, shape [n].
        y: grid of the second parameter, shape [m].
        z: value at (x[j], y[i]), shape [m, n].
        minimum: where it is lowest, or None.
    """

    name: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    x: Floats
    y: Floats
    z: Floats
    minimum: tuple[float, float] | None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Surface":
        """Read one from JSON.

        Raises:
            KeyError: an entry is missing.
            TypeError: an entry is not numbers.
            ValueError: the shapes do not fit.
        """
        x, y, z = (np.asarray(data[key], dtype=np.float64) for key in ("x", "y", "z"))
        if x.ndim != 1 or y.ndim != 1 or z.shape != (len(y), len(x)) or min(z.shape) < 2:
            raise ValueError(f"z has shape {z.shape}, expected [len(y), len(x)] = {(y.size, x.size)}")
        minimum = data.get("minimum")
        return cls(
            name=str(data.get("name", "")),
            xlim=_pair(data.get("xlim", (x.min(), x.max()))),
            ylim=_pair(data.get("ylim", (y.min(), y.max()))),
            x=x,
            y=y,
            z=z,
            minimum=None if minimum is None else _pair(minimum),
        )


def _pair(value: Any) -> tuple[float, float]:
    first, second = value
    return float(first), float(second)
