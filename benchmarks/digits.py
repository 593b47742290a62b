"""Digits from three starting rates against the best uniform rates of a grid, cold and warmed up.

    python -m benchmarks.digits              # about ten minutes on two cores; resumable

The grid is searched on three seeds by validation accuracy; the rates it chooses and hidlr then run on five
others. Seeds 0 to 2 were also looked at while the engine was made, so no figure is reported from them.

Writes one line per run to benchmarks/results/digits.jsonl and never repeats one that is there.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import describe
from hidlr.training import RunConfig
from hidlr.training.session import Session, seeded

RESULT = Path(__file__).parent / "results" / "digits.jsonl"
SEARCH_SEEDS, SEEDS = (0, 1, 2), (100, 101, 102, 103, 104)
STARTS = (1e-6, 1e-3, 1e-1)
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
WARM_UPS = (0.0, 0.1)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        method: "hidlr", or "uniform" for one rate with linear decay.
        optimizer: base optimizer.
        rate: where hidlr starts, or the uniform peak (lr).
        warmup: share of the steps over which a uniform rate rises from 0.
        seed: of weights and batches.
    """

    method: str
    optimizer: str
    rate: float
    warmup: float
    seed: int

    def config(self) -> RunConfig:
        """The settings of the run."""
        if self.method == "hidlr":
            return RunConfig("digits", optimizer=self.optimizer, start_rate=self.rate, seed=self.seed)
        return RunConfig("digits", optimizer=self.optimizer, rate=self.rate, warmup=self.warmup, seed=self.seed)


def search(optimizer: str) -> Iterator[Run]:
    """The runs that choose a uniform rate."""
    for seed in SEARCH_SEEDS:
        for rate in GRID:
            for warmup in WARM_UPS:
                yield Run("uniform", optimizer, rate, warmup, seed)


def finals(found: list[dict[str, Any]], optimizer: str) -> Iterator[Run]:
    """The chosen uniform rates, 1e-3 and hidlr, on seeds that chose nothing."""
    for seed in SEEDS:
        for start in STARTS:
            yield Run("hidlr", optimizer, start, 0.0, seed)
        for rate, warmup in dict.fromkeys([(1e-3, 0.0), *(chosen(found, share) for share in WARM_UPS)]):
            yield Run("uniform", optimizer, rate, warmup, seed)


def chosen(found: list[dict[str, Any]], warmup: float) -> tuple[float, float]:
    """The rate with the highest mean validation accuracy over the search seeds, at a share of warm-up."""
    scores: dict[float, list[float]] = {}
    for run in found:
        if run["method"] == "uniform" and run["warmup"] == warmup and run["seed"] in SEARCH_SEEDS:
            scores.setdefault(run["rate"], []).append(run["val_accuracy"])
    return max(scores, key=lambda rate: statistics.mean(scores[rate])), warmup


def measure(run: Run) -> dict[str, Any]:
    """Train once, on one thread."""
    torch.set_num_threads(1)
    with seeded(run.seed):
        session = Session(run.config().resolved())
        losses = []
        while not session.finished:
            losses.append(session.advance().loss)
    return {
        **asdict(run),
        **session.workload.evaluate(session.model),
        "train_loss": sum(losses[-30:]) / 30,
        "diverged_at": session.diverged_at,
        "seconds": session.seconds,
        "probe_seconds": session.probe_seconds,
        "rates": [record.rates for record in session.control.history][-1:],
        "machine": describe(),
    }


def main() -> None:
    """Run what is missing, two at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    out: Path = arguments.out
    found = _run_missing(list(search(arguments.optimizer)), out)
    _run_missing(list(finals(found, arguments.optimizer)), out)


def _run_missing(wanted: list[Run], out: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    keys = tuple(Run.__dataclass_fields__)
    done = {Run(**{key: run[key] for key in keys}) for run in found}
    missing = [run for run in wanted if run not in done]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool, out.open("a") as file:
        futures = [pool.submit(measure, run) for run in missing]
        for number, future in enumerate(as_completed(futures), 1):
            result = future.result()
            file.write(json.dumps(result) + "\n")
            file.flush()
            found.append(result)
            print(
                f"{number}/{len(missing)}  {result['method']:8} {result['rate']:<8g} warm-up {result['warmup']:<4g} "
                f"seed {result['seed']}: test accuracy {result['test_accuracy']:.3f}"
            )
    return found


if __name__ == "__main__":
    main()
