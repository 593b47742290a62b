"""Slopes and curvatures by every estimator, beside the exact ones, at moments of real trainings.

    python -m benchmarks.estimators --data DIR    # a few minutes on one core; resumable

A step's slope b_k = -G_k . d_k and curvature A_kj = d_k . H d_j (d_k: the move of group k in that step) are taken
exactly twice: on the step's own batch, by autograd in float64, and on a large sample of the training data, by
differences of gradients. Every estimator then measures the same step. Writes two lines per moment to
benchmarks/results/estimators.jsonl, raw figures and no errors: `benchmarks.estimators_report` makes tables of them.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import workloads
from benchmarks.data import data_folder
from benchmarks.estimators_ray import Ray, Training, rows_of
from benchmarks.estimators_uses import minimisers
from benchmarks.machine import describe
from hidlr import plans
from hidlr.fit import fit_diagonal, line_curvature
from hidlr.training.jsonlines import dump_json
from hidlr.workloads.base import Batch

RESULT = Path(__file__).parent / "results" / "estimators.jsonl"
MOMENTS = {"early": 0.05, "middle": 0.5, "late": 0.9}  # share of the steps taken
SIZES = (0.1, 1.0, 10.0)  # how far probes go (units of the step)
DRAWS, SIGNS = 3, 4  # steps studied at a moment; sign vectors drawn for each
SETTLE, BIAS_DRAWS = 15, 4  # steps that renew the momentum at another batch size; steps compared there
SLOPE_DRAWS = 16  # steps from one place whose slopes are compared
_SMALL = 0.1  # xi of gradient differences; "axis gradients" in the table says how near they come to autograd
_CURVED = 9  # batches of the sample that its curvature is taken on
_EVALUATED = 8  # batches of the sample that next-step losses are measured on
_DOUBLE = SIZES[:2]  # sizes that are also measured in float64; the largest has no rounding to show


@dataclass(frozen=True)
class Study:
    """A training to look into.

    Attributes:
        workload: a name in `benchmarks.workloads`.
        optimizer: a name in `hidlr.training.optimizers`.
        rate: peak of a uniform rate, 10% warm-up and linear decay (lr).
        sample: batches that stand for the training data (digits: all of it).
        batch_sizes: rows, for the bias of the step's own batch.
    """

    workload: str
    optimizer: str
    rate: float
    sample: int
    batch_sizes: tuple[int, ...]


STUDIES = (
    Study("digits-vit", "adamw", 3e-3, 18, (16, 64, 256)),
    Study("digits-vit", "momentum", 5e-2, 18, (16, 64, 256)),
    Study("shakespeare-gpt", "adamw", 3e-3, 16, (2, 8, 32)),
    Study("shakespeare-gpt", "momentum", 2e-1, 16, (2, 8, 32)),
)


def forward_estimates(ray: Ray, batch: Batch, size: float, slopes: Tensor) -> Iterator[dict[str, Any]]:
    """Estimators that need losses alone: axis both ways, one way with the slope in hand, and joint."""
    groups, ones = ray.groups, [1.0] * ray.groups

    def loss(point: Sequence[float]) -> float:
        return ray.loss(point, [batch])

    base = loss([0.0] * groups)
    points = [point for k in range(groups) for point in plans.axis(groups, k, [size, -size])]
    losses = [loss(point) for point in points]
    fit = fit_diagonal(points, losses, base)
    yield {"name": "axis both ways", "slope": fit.slope, "curvature": fit.curvature.diagonal()}
    one_way = [line_curvature(size, base - losses[2 * k], float(slopes[k])) for k in range(groups)]
    yield {"name": "axis one way", "slope": slopes, "curvature": torch.tensor(one_way)}
    out, back = (loss(point) for point in plans.along(ones, [size, -size]))
    yield {"name": "joint both ways", "total": (out + back - 2 * base) / size**2}
    yield {"name": "joint one way", "total": line_curvature(size, base - out, float(slopes.sum()))}


def other_estimates(ray: Ray, batch: Batch, size: float, seed: int) -> Iterator[dict[str, Any]]:
    """The paper's random points, and those that need a gradient at displaced points."""
    groups, zero = ray.groups, [0.0] * ray.groups
    points = plans.gaussian(groups, 4 * groups, [size] * groups, seed)
    fit = fit_diagonal(points, [ray.loss(point, [batch]) for point in points], ray.loss(zero, [batch]))
    yield {"name": "random 4K", "slope": fit.slope, "curvature": fit.curvature.diagonal()}
    start = ray.gradient(zero, [batch])  # the step's own gradient: in hand, not counted as cost
    yield {"name": "row sums", "rows": (ray.gradient([size] * groups, [batch]) - start) / size}
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(SIGNS):
        signs = torch.randint(0, 2, (groups,), generator=generator, dtype=torch.float64) * 2 - 1
        draws.append(signs * (ray.gradient((size * signs).tolist(), [batch]) - start) / size)
    yield {"name": "random signs", "draws": torch.stack(draws)}
    whole = ray.differences([batch], size, start)
    yield {"name": "axis gradients", "curvature": whole.diagonal(), "matrix": whole}


def study_step(ray: Ray, batch: Batch, fresh: Batch, sample: Sequence[Batch], seed: int) -> dict[str, Any]:
    """One step: the truth, every estimator, and what each use of (b, A) does to the loss."""
    double = ray.double()
    slope, curvature = double.exact(batch)
    start = ray.gradient([0.0] * ray.groups, sample)
    wide = {"slope": -start, "curvature": ray.differences(sample[:_CURVED], _SMALL)}
    estimates: list[dict[str, Any]] = []
    for size in SIZES:
        label = {"xi": size, "dtype": "float32"}
        estimates += [label | found for found in forward_estimates(ray, batch, size, ray.slopes)]
        estimates += [label | found for found in other_estimates(ray, batch, size, seed)]
        if size in _DOUBLE:
            label = {"xi": size, "dtype": "float64"}
            estimates += [label | found for found in forward_estimates(double, batch, size, slope)]
    places = {"own": [batch], "fresh": [fresh], "sample": list(sample[:_EVALUATED])}
    before = {name: ray.loss([0.0] * ray.groups, where) for name, where in places.items()}
    uses = []
    for source, (b, A) in {"own": (slope, curvature), "sample": (wide["slope"], wide["curvature"])}.items():
        for name, (xi, believed) in minimisers(b, A).items():
            drop = {where: before[where] - ray.loss(xi.tolist(), data) for where, data in places.items()}
            uses.append({"name": name, "source": source, "xi": xi, "believed": believed, "decrease": drop})
    own = {"slope": slope, "curvature": curvature}
    return {"own": own, "sample": wide, "loss": before, "estimates": estimates, "uses": uses}


def study_bias(training: Training, size: int, sample: Sequence[Batch]) -> list[dict[str, Any]]:
    """Steps of one batch size from one place: slope and curvature on their own batch and on the data.

    The run first goes on for some steps at that size, so that the momentum is as noisy as it would be.
    """
    work, branch = training.workload, training.branch()
    for k in range(SETTLE):
        branch.advance(rows_of(work, 20_000 + 100 * k, 1, size))
    found = []
    wide_gradient = branch.gradient(sample)  # all steps leave from here
    for k in range(BIAS_DRAWS):
        batch = rows_of(work, 30_000 + 100 * k, 2, size)
        ray = branch.branch().advance(batch)
        # Other rows for each step's curvature: only the mean over steps is looked at.
        others = [work.batch(40_000 + 2 * k + i, 3) for i in range(2)]
        own, wide = ray.differences([batch], _SMALL), ray.differences(others, _SMALL)
        found.append(
            {
                "own": {"slope": ray.slopes, "diagonal": own.diagonal(), "total": own.sum()},
                "sample": {
                    "slope": -ray.along(wide_gradient),
                    "diagonal": wide.diagonal(),
                    "total": wide.sum(),
                },
            }
        )
    return found


def study_slopes(training: Training, study: Study) -> dict[str, Any]:
    """Slopes of many steps from one place: on their own batch, on one they have not seen, on the data."""
    work = training.workload
    wide_gradient = training.gradient([work.batch(k, 4) for k in range(study.sample)])
    zero, ones = [0.0] * len(training.groups), [1.0] * len(training.groups)
    draws = []
    for k in range(SLOPE_DRAWS):
        batch, unseen = work.batch(50_000 + k, 5), work.batch(60_000 + k, 6)
        ray = training.branch().advance(batch)
        found = {"own": ray.slopes, "own end": -ray.gradient(ones, [batch]), "sample": -ray.along(wide_gradient)}
        # The next batch's gradient at the end of this step comes with the training, at no cost.
        draws.append(found | {"unseen": -ray.gradient(zero, [unseen]), "unseen end": -ray.gradient(ones, [unseen])})
    return {"slopes": draws}


def study_steps(training: Training, study: Study) -> dict[str, Any]:
    """A few steps in full, and the bias of their own batch; the training ends up a few steps further on."""
    work = training.workload
    # Seed 4 orders the rows unlike the run; on digits the sample is one whole epoch.
    sample = [work.batch(k, 4) for k in range(study.sample)]
    bias = {str(size): study_bias(training, size, sample) for size in study.batch_sizes}
    window: list[dict[str, Tensor]] = []
    steps = []
    for k in range(len(training.groups) - 1 + DRAWS):
        batch, following = (work.batch(training.step + ahead, 0) for ahead in (0, 1))
        ray = training.advance(batch)
        axis = next(f for f in forward_estimates(ray, batch, 1.0, ray.slopes) if f["name"] == "axis one way")
        window.append({"slope": axis["slope"], "curvature": axis["curvature"]})
        if k >= len(training.groups) - 1:
            found = study_step(ray, batch, following, sample, seed=k)
            # What a rotating probe would have in hand: the last K steps' measurements, newest first.
            steps.append(found | {"window": window[: -ray.groups - 1 : -1]})
        ray.place([1.0] * ray.groups)
    return {"steps": steps, "bias": bias}


PARTS: dict[str, Callable[[Training, Study], dict[str, Any]]] = {"steps": study_steps, "slopes": study_slopes}


def plain(value: Any) -> Any:
    """Tensors as lists, numbers to seven digits."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def run(study: Study, data: Path | None, out: Path) -> None:
    """Append what the file lacks of a study."""
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(line["workload"], line["optimizer"], line["moment"], line["part"]) for line in lines}
    todo = [(m, p) for m in MOMENTS for p in PARTS if (study.workload, study.optimizer, m, p) not in done]
    if not todo:
        return
    training = Training(workloads.get(study.workload, data), study.optimizer, study.rate)
    for moment, part in todo:
        while training.step < int(MOMENTS[moment] * training.steps):
            training.advance(training.workload.batch(training.step, 0))
        line: dict[str, Any] = {"workload": study.workload, "optimizer": study.optimizer, "moment": moment}
        line |= {"part": part, "rate": study.rate, "step": training.step}
        line["batch"] = len(training.workload.batch(0, 0)[0])
        line["groups"] = [group["name"] for group in training.groups]
        began = time.process_time()
        line |= PARTS[part](training.branch(), study)
        line |= {"seconds": time.process_time() - began, "machine": describe()}
        with out.open("ab") as file:
            file.write(dump_json(plain(line)) + b"\n")
        print(f"{study.workload} {study.optimizer} {moment} {part}: {line['seconds']:.0f} s", flush=True)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="data folder (default: HIDLR_DATA)")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for study in STUDIES:
        try:
            run(study, data_folder(arguments.data), arguments.out)
        except workloads.MissingDataError as error:
            print(f"{study.workload} skipped: {error}")


if __name__ == "__main__":
    main()
