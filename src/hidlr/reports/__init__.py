"""What a run found, for people: tables, plots and one self-contained HTML page.

Reads records only. matplotlib and jinja2 are imported when something is drawn or written, not before.
"""

from hidlr.reports.curves import Curve
from hidlr.reports.heatmap import heat_figure
from hidlr.reports.html import write_comparison, write_report
from hidlr.reports.parabolas import parabola_figure
from hidlr.reports.shares import share_figure
from hidlr.reports.table import Summary, summary

__all__ = [
    "Curve",
    "Summary",
    "heat_figure",
    "parabola_figure",
    "share_figure",
    "summary",
    "write_comparison",
    "write_report",
]
