"""One self-contained HTML page from a run folder, or from several."""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

from hidlr.errors import InputError
from hidlr.reports import plots, progress, tables
from hidlr.reports.beside import MOST, found_beside, names_of, sections_beside
from hidlr.reports.found import found_of, subtitle_of, tiles_of, title_of
from hidlr.reports.load import RunData, load_run
from hidlr.reports.series import GroupSeries, final_rates, series_of, styles
from hidlr.reports.theme import has_matplotlib
from hidlr.reports.views import Page, Section

__all__ = ["write_comparison", "write_report"]


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
    target = _target(folder / "report.html" if out is None else Path(out))
    return _write(target, _page(load_run(folder)))


def write_comparison(runs: Sequence[str | Path], out: str | Path = "comparison.html") -> Path:
    """Write several runs side by side as one HTML file, like `write_report` in all else.

    Args:
        runs: run folders, two at least; each has a colour, in this order.
        out: the file to write.

    Returns:
        The file written.

    Raises:
        InputError: fewer than two runs or more than 16, one is named twice or is no run, or `out` is a folder.
        StateError: a file in a run is damaged; the message names file and line.
        OSError: the page cannot be written.
    """
    folders = [Path(run) for run in runs]
    if not 2 <= len(folders) <= MOST:
        raise InputError(f"{len(folders)} runs to compare: name 2 to {MOST}, so that colours can tell them apart")
    target = _target(Path(out))
    names = names_of(folders)
    return _write(target, _beside(dict(zip(names, map(load_run, folders), strict=True))))


def _target(path: Path) -> Path:
    if path.is_dir():
        raise InputError(f"{path} is a folder: name the file to write, e.g. {path / 'report.html'}")
    return path


def _write(target: Path, page: Page) -> Path:
    text = _render(page)
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
        notices=data.notices + _missing(),
        sections=tuple(section for section in sections if section is not None),
        version=_version(),
    )


def _beside(runs: Mapping[str, RunData]) -> Page:
    titles = dict.fromkeys(title_of(data) for data in runs.values())
    return Page(
        title=next(iter(titles)) if len(titles) == 1 else f"{len(runs)} runs",
        subtitle=f"{len(runs)} runs side by side: {', '.join(runs)}",
        found=found_beside(runs),
        tiles=(),
        notices=tuple(f"{name}: {notice}" for name, data in runs.items() for notice in data.notices) + _missing(),
        sections=tuple(section for section in sections_beside(runs) if section is not None),
        version=_version(),
    )


def _missing() -> tuple[str, ...]:
    if has_matplotlib():
        return ()
    return ('The plots are left out: matplotlib is not installed. pip install "hidlr[plot]"',)


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
