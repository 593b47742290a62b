"""One self-contained HTML page from a run folder."""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from hidlr.errors import InputError
from hidlr.reports import plots, progress, tables
from hidlr.reports.found import found_of, subtitle_of, tiles_of, title_of
from hidlr.reports.load import RunData, load_run
from hidlr.reports.series import GroupSeries, final_rates, series_of, styles
from hidlr.reports.theme import has_matplotlib
from hidlr.reports.views import Page, Section

__all__ = ["write_report"]


def write_report(run: str | Path, out: str | Path | None = None) -> Path:
    """Write what a run found as one HTML file that needs no network.

    All is there without its script too, which tells the values under the pointer and the arrow keys.

    Without matplotlib the page has its words and tables, and a line that says how to get the plots.

    Args:
        run: a run folder, with at least history.jsonl in it.
        out: the file to write; None is report.html in the run folder. An older one is replaced at once.

    Returns:
        The file written.

    Raises:
        InputError: the folder is no run, or `out` is a folder.
        StateError: a file in it is damaged; the message names file and line.
        OSError: the page cannot be written.
    """
    folder = Path(run)
    target = folder / "report.html" if out is None else Path(out)
    if target.is_dir():
        raise InputError(f"{target} is a folder: name the file to write, e.g. {target / 'report.html'}")
    text = _render(_page(load_run(folder)))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are readable by their owner alone.
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return target


def _page(data: RunData) -> Page:
    series = series_of(data.records)
    rates = final_rates(series)
    chosen = styles(rates)
    notices = data.notices
    if not has_matplotlib():
        notices += ('The plots are left out: matplotlib is not installed. pip install "hidlr[plot]"',)
    sections = (
        tables.comparison(data.result),
        plots.path(data),
        plots.rates(data, series, chosen),
        tables.groups(data, rates),
        _influence(data, series, chosen),
        progress.training(data),
        progress.cost(data),
        plots.slopes(series, chosen),
        plots.curvatures(series, chosen),
        plots.parabolas(data, chosen),
        tables.refused(data),
        tables.how_it_was_run(data),
    )
    return Page(
        title=title_of(data),
        subtitle=subtitle_of(data),
        found=found_of(data, rates),
        tiles=tiles_of(data.result),
        notices=notices,
        sections=tuple(section for section in sections if section is not None),
        version=_version(),
    )


def _influence(data: RunData, series: Mapping[str, GroupSeries], chosen: Mapping[str, int | None]) -> Section | None:
    section = tables.influence(data, chosen)
    return None if section is None else replace(section, plots=plots.influence(data, series, chosen))


def _render(page: Page) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hidlr.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = files("hidlr.reports").joinpath("report.js").read_text(encoding="utf-8")
    # Under the page's policy this script runs and no other: whatever a name holds, it is text.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.html.j2").render(page=page, script=script, digest=digest)


def _version() -> str:
    try:
        return version("hidlr")
    except PackageNotFoundError:
        return "from source"
