"""A selection in words."""

from typing import TYPE_CHECKING

from hidlr.selection.methods import resemblance

if TYPE_CHECKING:
    from hidlr.selection.selection import Selection

__all__ = ["explanation"]

_SHOWN = 30


def explanation(selection: "Selection") -> str:
    """What is kept, its share of parameters and influence, what it resembles, and a table of groups."""
    groups = selection.groups
    everything = sum(group.size for group in groups)
    lines = [
        f"Trains {len(selection.kept)} of {len(groups)} groups: {selection.parameters:,} of {everything:,} parameters "
        f"({_percent(selection.share)}), which offer {_percent(selection.share_of_influence)} of the influence "
        "measured."
    ]
    if selection.rule:
        lines.append(f"Rule: {selection.rule}.")
    alike = resemblance(selection)
    if alike:
        lines.append(alike)
    unmeasured = [group for group in groups if group.ppi is None]
    if unmeasured:
        lines.append(f"{len(unmeasured)} groups had no usable measurement.")
    if selection.match is not None:
        lines.append(f"Transferred: {selection.match} Influence is that of the model it came from.")
    total = sum(group.total or 0.0 for group in groups) or 1.0
    ranked = sorted(groups, key=lambda group: -(group.ppi if group.ppi is not None else -1.0))
    rows = [("group", "train", "parameters", "influence", "PPI")] + [
        (
            group.name,
            "yes" if group.kept else "",
            f"{group.size:,}",
            "-" if group.total is None else _percent(group.total / total),
            "-" if group.ppi is None else f"{group.ppi:.1e}",
        )
        for group in ranked[:_SHOWN]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines.append("")
    for row in rows:
        cells = [row[k].ljust(widths[k]) if k < 2 else row[k].rjust(widths[k]) for k in range(5)]
        lines.append("  ".join(cells).rstrip())
    if len(ranked) > _SHOWN:
        lines.append(f"... and {len(ranked) - _SHOWN} groups more")
    return "\n".join(lines)


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.2g}%" if value < 10 else f"{value:.0f}%"
