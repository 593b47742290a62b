"""What the docs show of the experiments: a table for each, and the index of claims and verdicts."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks.paper import registry
from benchmarks.paper.experiment import RESULTS, Experiment
from benchmarks.paper.markdown import NOTHING, table
from benchmarks.paper.runs import Runs, load

__all__ = ["IMAGES", "TABLES", "stored", "verdicts"]

IMAGES = Path(__file__).parents[2] / "docs" / "paper" / "images"
"""Where `python -m benchmarks paper all --draw docs/paper/images` puts figures."""


def stored(name: str) -> Runs:
    """Committed results of an experiment: of the full tier where there are some, else of the quick one."""
    for tier in ("full", "quick"):
        runs = load(RESULTS / tier / registry.get(name).folder)
        if len(runs):
            return runs
    return Runs(())


def verdicts(found: Iterable[tuple[Experiment, Runs]], *, links: bool = False) -> str:
    """Paper's claim | measured here | verdict, a row for each experiment."""
    rows = []
    for experiment, runs in found:
        verdict = experiment.judge(runs)
        name = f"[{experiment.title}]({experiment.name}.md)" if links else experiment.title
        rows.append([name, experiment.claim, verdict.measured, f"**{verdict.outcome}**"])
    return table(["experiment", "claim", "measured here", "verdict"], rows)


def page(name: str) -> str:
    """An experiment's claim, verdict and table, and where they come from."""
    experiment, runs = registry.get(name), stored(name)
    verdict = experiment.judge(runs)
    if verdict.outcome == "not run":
        return f"**Claim.** {experiment.claim}\n\n{NOTHING}"
    told = f"**Measured here: {verdict.outcome}.** {verdict.measured[0].upper()}{verdict.measured[1:]}."
    parts = [f"**Claim.** {experiment.claim}", told, *_picture(experiment), experiment.table(runs)]
    return "\n\n".join([*parts, *_origin(experiment, runs)])


def _picture(experiment: Experiment) -> list[str]:
    drawn = (IMAGES / f"{experiment.name}.svg").exists()
    return [f"![{experiment.figure}](images/{experiment.name}.svg)"] if drawn else []


def _origin(experiment: Experiment, runs: Runs) -> list[str]:
    """Where figures come from; of results elsewhere the table says so itself."""
    if not len(runs):
        return []
    engines = sorted({result["engine"] for result in runs})
    seconds = sum(result["seconds"] for result in runs)
    return [
        f"{len(runs)} runs, {seconds / 60:.1f} minutes of one core; results: "
        f"`benchmarks/results/paper/{runs.tier}/{experiment.folder}`, engine {', '.join(engines)}; again: "
        f"`python -m benchmarks paper {experiment.folder} --{runs.tier} --stale`."
    ]


def index() -> str:
    """All verdicts."""
    return verdicts([(registry.get(name), stored(name)) for name in registry.NAMES], links=True)


TABLES: dict[str, Callable[[], str]] = {
    "paper_index": index,
    **{f"paper_{name.replace('-', '_')}": partial(page, name) for name in registry.NAMES},
}
"""For `benchmarks.tables`, by the name in the page's marker."""
