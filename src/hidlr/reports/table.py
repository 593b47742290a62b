"""The tuner's table: what each group's rate is and what it was measured from."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from rich.box import Box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from hidlr.history import StepRecord
from hidlr.influence import Influence
from hidlr.reports.text import count, number, plural, printable

__all__ = ["GroupRow", "Summary", "influence_of", "summary"]

_WIDTH = 110
# Rich's SIMPLE_HEAD in ASCII, so that printing works under any encoding.
_LINES = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group's line of the table.

    Attributes:
        name: the group's name.
        size: number of trainable entries, d_k; None where not known.
        rate: the rate now (units of ``lr``).
        start: the rate before the first probe (units of ``lr``); None before any.
        slope: mean b_k of the accepted measurements (loss / lr); None without one.
        curvature: mean A_kk of the accepted measurements (loss / lr^2); None without one.
        ppi: per-parameter influence (loss per parameter), with the curvatures' geometric mean, as `Influence` takes it;
            None without a convex measurement.
        measured: accepted measurements.
        refused: refused measurements.
    """

    name: str
    size: int | None
    rate: float
    start: float | None
    slope: float | None
    curvature: float | None
    ppi: float | None
    measured: int
    refused: int

    HEAD = ("group", "size", "rate", "start", "slope", "curvature", "PPI", "measured", "refused")

    def cells(self) -> tuple[str, ...]:
        """The line as text, in the order of `HEAD`."""
        return (
            printable(self.name),
            number(None) if self.size is None else count(self.size),
            *(number(value) for value in (self.rate, self.start, self.slope, self.curvature, self.ppi)),
            count(self.measured),
            count(self.refused),
        )


@dataclass(frozen=True)
class Summary:
    """A table of groups that prints as plain text, in colour under rich, and as HTML in a notebook.

    Slope and curvature are means over the accepted measurements, the ones PPI is made of.

    Attributes:
        rows: one per group, in the optimizer's order.
        probes: records the table was made from.
        forwards: forward passes that they took.
    """

    rows: tuple[GroupRow, ...]
    probes: int
    forwards: int

    @property
    def caption(self) -> str:
        """What the numbers stand on."""
        if not self.probes:
            return "No probe yet."
        return (
            f"{plural(self.probes, 'probe')}, {plural(self.forwards, 'forward pass', 'forward passes')}. "
            "Slope and curvature: means of the accepted measurements."
        )

    def __str__(self) -> str:
        file = io.StringIO()
        # Neither the terminal nor the environment decides: the text is the same in a log and a doctest.
        console = Console(file=file, width=_WIDTH, color_system=None, force_jupyter=False, _environ={})
        console.print(self)
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines())

    def __rich__(self) -> Group:
        table = Table(
            box=_LINES,
            show_edge=False,
            pad_edge=False,
            padding=(0, 0, 0, 1),
        )
        for title in GroupRow.HEAD:
            if title == "group":
                table.add_column(title, overflow="fold", no_wrap=False, min_width=12)
            else:
                table.add_column(title, justify="right", no_wrap=True)
        for row in self.rows:
            # Text, not str: a name such as "[bold]" is a name.
            table.add_row(*(Text(cell) for cell in row.cells()))
        return Group(table, Text(self.caption))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(title)}</th>" for title in GroupRow.HEAD)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells()) + "</tr>" for row in self.rows
        )
        return (
            f"<table><caption>{escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def summary(
    records: Iterable[StepRecord],
    *,
    rates: Mapping[str, float],
    sizes: Mapping[str, int],
) -> Summary:
    """Make the table of groups from what was recorded so far.

    Args:
        records: the run's probes; none for an untouched tuner, whose table has dashes.
        rates: rate of each group now, by name (units of ``lr``); its order is the table's.
        sizes: trainable entries of each group, by name.

    Returns:
        One row for each entry of `rates`.

    Example:
        >>> print(summary([], rates={"bias": 1e-3}, sizes={"bias": 10}).rows[0].cells()[:4])
        ('bias', '10', '1.0e-3', '-')
    """
    records = list(records)
    influence = influence_of(records)
    starts: dict[str, float] = {}
    slopes: dict[str, list[float]] = {}
    curvatures: dict[str, list[float]] = {}
    for group in (group for record in records for group in record.groups):
        starts.setdefault(group.name, group.rate_before)
        if group.accepted and group.slope is not None and group.curvature is not None:
            slopes.setdefault(group.name, []).append(group.slope)
            curvatures.setdefault(group.name, []).append(group.curvature)
    rows = tuple(
        GroupRow(
            name=name,
            size=sizes.get(name),
            rate=rate,
            start=starts.get(name),
            slope=_mean(slopes.get(name)),
            curvature=_mean(curvatures.get(name)),
            ppi=influence.ppi.get(name),
            measured=influence.measured.get(name, 0),
            refused=influence.refused.get(name, 0),
        )
        for name, rate in rates.items()
    )
    return Summary(rows, len(records), sum(record.forwards for record in records))


def influence_of(records: Iterable[StepRecord]) -> Influence:
    """`Influence.from_records`, without what it could not have used: values whose square overflows."""
    records = list(records)
    try:
        return Influence.from_records(records)
    except OverflowError:
        counts = {group.name: group.size for record in records for group in record.groups}
        none = dict.fromkeys(counts, 0)
        return Influence(ppi={}, total={}, sizes=counts, measured=none, refused=dict(none))


def _mean(values: list[float] | None) -> float | None:
    return sum(values) / len(values) if values else None
