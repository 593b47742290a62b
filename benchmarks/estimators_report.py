"""Tables and a plot of the study of estimators, from its raw figures.

    python -m benchmarks.estimators_report    # prints the tables, draws docs/images/estimators.png

`TABLES` has one function per marked block of docs/estimators.md.
"""

import argparse
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.estimators import LIMIT, RESULT, minimisers

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "estimators.png"
_BAD = 0.5  # relative error beyond which a curvature leads a rate astray (a wrong sign is beyond it too)

COSTS: dict[str, Callable[[int], int]] = {
    "axis both ways": lambda K: 2 * K,
    "axis one way, slope in hand": lambda K: K,
    "rotating: one group a probe": lambda K: 1,
    "random 4K (paper)": lambda K: 4 * K,
    "random signs, 1 draw": lambda K: 3,
    "random signs, 4 draws": lambda K: 12,
    "gradient on each axis": lambda K: 3 * K,
    "exact products": lambda K: 3 + 4 * K,
    "row sums": lambda K: 3,
    "joint both ways": lambda K: 2,
    "joint one way, slope in hand": lambda K: 1,
}
"""Forward-equivalents beyond the training step (a backward counts as two), by number of groups.

The loss and the gradient at the start of the step are in hand. A product with the Hessian goes back through the
gradient's own graph, counted as four forwards, after three for that graph.
"""

TARGETS = {"row sums": "rows", "joint both ways": "total", "joint one way, slope in hand": "total"}
"""What an estimator is held against where that is not the diagonal."""


@dataclass(frozen=True)
class Errors:
    """Relative errors of an estimator at one probe size, one per group and step.

    Attributes:
        own: against the curvature of the step's own batch.
        sample: against that of the training data.
    """

    own: list[float]
    sample: list[float]

    def median(self, side: str) -> float:
        """The median absolute one, of "own" or "sample"."""
        values: list[float] = getattr(self, side)
        return statistics.median(map(abs, values))

    @property
    def bad(self) -> float:
        """Share of errors against the own batch that lead a rate astray."""
        return statistics.mean(abs(error) > _BAD for error in self.own)


def tensor(values: Any) -> Tensor:
    """Numbers of a result line, "nan" and "inf" among them, in float64."""
    if isinstance(values, list):
        return torch.stack([tensor(value) for value in values])
    return torch.tensor(float(values), dtype=torch.float64)


@cache
def read(path: Path = RESULT) -> tuple[dict[str, Any], ...]:
    """The result lines."""
    return tuple(json.loads(line) for line in path.read_text().splitlines())


def _steps(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for line in read(path):
        if line["part"] == "steps":
            for step in line["steps"]:
                yield line, step


def _parts(matrix: Tensor) -> dict[str, Tensor]:
    return {"diagonal": matrix.diagonal(), "rows": matrix.sum(1), "total": matrix.sum()[None]}


def _measured(estimate: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What one estimate says, by the tables' names."""
    name = estimate["name"]
    if name == "random signs":
        draws = tensor(estimate["draws"])
        yield "random signs, 1 draw", draws[0]
        yield "random signs, 4 draws", draws[:4].mean(0)
        return
    renamed = {
        "axis one way": "axis one way, slope in hand",
        "joint one way": "joint one way, slope in hand",
        "axis gradients": "gradient on each axis",
        "random 4K": "random 4K (paper)",
    }
    key = {"row sums": "rows", "joint both ways": "total", "joint one way": "total"}.get(name, "curvature")
    yield renamed.get(name, name), tensor(estimate[key]).reshape(-1)


def errors(path: Path = RESULT) -> dict[tuple[str, str, float], Errors]:
    """Errors of every estimator, by name, dtype and probe size (0: none is chosen)."""
    found: dict[tuple[str, str, float], Errors] = defaultdict(lambda: Errors([], []))

    def add(key: tuple[str, str, float], value: Tensor, own: Tensor, sample: Tensor) -> None:
        found[key].own.extend(((value - own) / own.abs()).tolist())
        found[key].sample.extend(((value - sample) / sample.abs()).tolist())

    for _, step in _steps(path):
        own, sample = (_parts(tensor(step[side]["curvature"])) for side in ("own", "sample"))
        for estimate in step["estimates"]:
            for name, value in _measured(estimate):
                target = TARGETS.get(name, "diagonal")
                add((name, estimate["dtype"], estimate["xi"]), value, own[target], sample[target])
        add(("exact products", "float64", 0.0), own["diagonal"], own["diagonal"], sample["diagonal"])
        window = torch.stack([tensor(probe["curvature"]) for probe in step["window"]])
        groups = window.shape[1]
        for phase in range(groups):  # group k was last measured (k + phase) mod K probes ago
            stale = torch.stack([window[(k + phase) % groups, k] for k in range(groups)])
            add(("rotating: one group a probe", "float32", 1.0), stale, own["diagonal"], sample["diagonal"])
    return dict(found)


def estimators(path: Path = RESULT) -> str:
    """Error of the curvature per cost, at each probe size in float32."""
    found, sizes = errors(path), (0.1, 1.0, 10.0)
    groups = len(read(path)[0]["groups"])
    lines = [
        "| estimator | cost | xi 0.1 | xi 1 | xi 10 | astray | against the data | cost x error² |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cost in COSTS.items():
        own = {xi: found.get((name, "float32", xi)) for xi in sizes}
        at = {xi: found_errors for xi, found_errors in own.items() if found_errors}
        best = min(at.values(), key=lambda e: e.median("own"), default=found.get((name, "float64", 0.0)))
        assert best is not None
        cells = [f"{e.median('own'):.2g}" if e else "" for e in own.values()]
        if name == "exact products":
            cells = ["0", "0", "0"]
        price = cost(groups)
        lines.append(
            f"| {name} | {price} | {' | '.join(cells)} | {best.bad:.0%} | {best.median('sample'):.2f} "
            f"| {price * best.median('sample') ** 2:.2g} |"
        )
    count = sum(1 for _ in _steps(path))
    lines += [
        "",
        f"Median relative error of $A_{{kk}}$ (row sums: of those; joint: of the sum) over {count} steps and "
        f"{groups} groups, against the step's own batch by probe size; then, at the best size: share more than "
        "50% off; median error against the training data; and cost x (that error)², which is what averaging "
        f"independent probes down to an error of 1 costs. Cost in forward passes with K = {groups}, a backward "
        "pass counted as two.",
    ]
    return "\n".join(lines)


def rounding(path: Path = RESULT) -> str:
    """Errors of forward-only estimators in float32 beside float64: what is rounding, what the probe's length."""
    found = errors(path)
    names = [name for name in COSTS if name.startswith(("axis", "joint"))]
    lines = [
        "| estimator | float32, xi 0.1 | float64, xi 0.1 | float32, xi 1 | float64, xi 1 |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        pairs = [found[name, dtype, xi] for xi in (0.1, 1.0) for dtype in ("float32", "float64")]
        cells = [f"{e.median('own'):.2g}, {e.bad:.0%}" for e in pairs]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "Median relative error against the step's own batch, and the share more than 50% off."]
    return "\n".join(lines)


def _ratio(over: float, under: float) -> str:
    # A step that climbs on the data while it descends on its own batch has no ratio.
    return f"{over / under:.2f}" if under > 0 else "climbs"


@dataclass(frozen=True)
class Bias:
    """Means over steps on their own batch, over those on the training data.

    Attributes:
        line: the moment's result line.
        size: of the batch (rows).
        slope: of the joint slope; infinite where the steps climb on the training data.
        curvature: of the sum of A.
        trace: of the trace of A.
    """

    line: dict[str, Any]
    size: int
    slope: float
    curvature: float
    trace: float

    @property
    def rank(self) -> int:
        """Which of the moment's batch sizes it is, 0 the smallest."""
        return sorted(map(int, self.line["bias"])).index(self.size)


def biases(path: Path = RESULT) -> list[Bias]:
    """The bias of every moment and batch size."""
    found = []
    for line in read(path):
        for size, draws in line.get("bias", {}).items():
            own, wide = (
                {key: sum(float(tensor(draw[side][key]).sum()) for draw in draws) for key in draws[0][side]}
                for side in ("own", "sample")
            )
            slope = own["slope"] / wide["slope"] if wide["slope"] > 0 else math.inf
            trace = own["diagonal"] / wide["diagonal"]
            found.append(Bias(line, int(size), slope, own["total"] / wide["total"], trace))
    return found


def bias(path: Path = RESULT) -> str:
    """Own batch over training data, by batch size: slope, curvature and minimum of the joint move."""
    lines = ["| training | moment | batch | slope | curvature | trace | minimum |", "|---|---|---|---|---|---|---|"]
    ranks: dict[int, list[Bias]] = defaultdict(list)
    for item in biases(path):
        ranks[item.rank].append(item)
        label = f"{item.line['workload']}, {item.line['optimizer']} | {item.line['moment']} | {item.size}"
        ends = _or_climbs(item.slope / item.curvature)
        lines.append(f"| {label} | {_or_climbs(item.slope)} | {item.curvature:.2f} | {item.trace:.2f} | {ends} |")
    for _, items in sorted(ranks.items()):
        medians = [statistics.median(getattr(item, key) for item in items) for key in ("slope", "curvature", "trace")]
        medians.append(statistics.median(item.slope / item.curvature for item in items))
        sizes = " or ".join(str(size) for size in dict.fromkeys(item.size for item in items))
        lines.append(f"| median | all | {sizes} | {' | '.join(f'{value:.2f}' for value in medians)} |")
    lines += [
        "",
        "Mean over steps on their own batch over the mean on the training data, of the joint slope, the joint "
        "curvature, the trace of A, and joint slope / curvature. climbs: on the training data these steps go "
        "uphill. Batch in rows; usual are 64 on digits-vit and 12 (of 64 characters) on shakespeare-gpt.",
    ]
    return "\n".join(lines)


def _or_climbs(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "climbs"


def _slope_sides(draw: dict[str, Any]) -> dict[str, Tensor]:
    """Slopes at the start of the step, by where they come from."""
    own, own_end, unseen_end = (tensor(draw[key]) for key in ("own", "own end", "unseen end"))
    return {
        "own": own,
        "unseen": tensor(draw["unseen"]),
        # -G'(w') d of the next batch, and what curvature adds between the two ends, from the own batch.
        "free": unseen_end + own - own_end,
        "sample": tensor(draw["sample"]),
    }


def slopes(path: Path = RESULT) -> str:
    """Slope on the own batch, on an unseen one, and of the last move by the next gradient."""
    lines = [
        "| training | moment | true minimum | own batch | unseen batch | next gradient | noise: own | unseen | next |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for line in read(path):
        if line["part"] != "slopes":
            continue
        sides = [_slope_sides(draw) for draw in line["slopes"]]
        joint = {key: torch.stack([side[key].sum() for side in sides]) for key in sides[0]}
        ends = [tensor(draw["own"]).sum() - tensor(draw["own end"]).sum() for draw in line["slopes"]]
        bend, true = float(torch.stack(ends).mean()), joint.pop("sample")
        scale = max(abs(float(true.mean())), 1e-300)
        means = [f"{float(value.mean()) / bend:.2f}" for value in joint.values()]
        noise = [f"{float((value - true).std()) / scale:.1f}" for value in joint.values()]
        lines.append(
            f"| {line['workload']}, {line['optimizer']} | {line['moment']} | {float(true.mean()) / bend:.2f} "
            f"| {' | '.join(means)} | {' | '.join(noise)} |"
        )
    lines += [
        "",
        "Minimum of the joint move (units of the step) as mean slope / mean curvature over 16 steps from one "
        "place, with the slope from: the training data; the step's own batch; an unseen batch at the start of "
        "the step; the next batch's gradient at the end of the step, brought back by the own batch's "
        "curvature. Curvature is the own batch's in all of them. Noise: standard deviation of one slope "
        "around the training data's, over the latter's mean.",
    ]
    return "\n".join(lines)


def uses(path: Path = RESULT) -> str:
    """Real decrease of the loss by each way to use (b, A)."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for _, step in _steps(path):
        for use in step["uses"]:
            rows[use["source"], use["name"]].append(use | {"loss": step["loss"]})
    best = _best(path)
    lines = [
        "| b and A from | use | believed | own batch | next batch | training data | rises | best |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (source, name), found in rows.items():

        def share(where: str, found: list[dict[str, Any]] = found) -> float:
            return statistics.median(100 * float(use["decrease"][where]) / float(use["loss"][where]) for use in found)

        on = "own" if source == "own" else "sample"
        believed = statistics.median(100 * float(use["believed"]) / use["loss"][on] for use in found)
        rises = statistics.mean(not float(use["decrease"]["sample"]) > 0 for use in found)
        label = "own batch" if source == "own" else "training data"
        lines.append(
            f"| {label} | {name} | {believed:.2f} | {share('own'):.2f} | {share('fresh'):.2f} | {share('sample'):.2f} "
            f"| {rises:.0%} | {best[source, name]} |"
        )
    lines += [
        "",
        "Decrease of the loss in % of it, medians over steps: believed by the parabola, and real on the "
        "step's own batch, on the next batch and on the training data; share of steps that raise the last; "
        "how often it is the best of its seven there. No group goes further than 10 steps.",
    ]
    return "\n".join(lines)


def _best(path: Path) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for _, step in _steps(path):
        for source in ("own", "sample"):
            own = [use for use in step["uses"] if use["source"] == source]
            winner = max(own, key=lambda use: float(use["decrease"]["sample"]))
            counts[source, winner["name"]] += 1
    return counts


def shapes(path: Path = RESULT) -> str:
    """What the ratios between groups are worth on the training data, each at its best common length."""
    rows: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for line in read(path):
        for index, step in enumerate(line.get("steps", [])):
            slope, curvature = (tensor(step["sample"][key]) for key in ("slope", "curvature"))
            others = [other["own"] for k, other in enumerate(line["steps"]) if k != index]
            means = {key: torch.stack([tensor(other[key]) for other in others]).mean(0) for key in others[0]}
            sources = {"own batch": step["own"], "mean of two other steps": means, "training data": step["sample"]}
            for source, found in sources.items():
                pair = [value if isinstance(value, Tensor) else tensor(value) for value in found.values()]
                points = minimisers(*pair)
                joint = _at_best_length(points["joint"][0], slope, curvature)
                for name, (xi, _) in points.items():
                    gain = _at_best_length(xi, slope, curvature)
                    rows[source, name].append((100 * gain / float(step["loss"]["sample"]), gain - joint))
    lines = ["| b and A from | use | decrease | mean | better than joint |", "|---|---|---|---|---|"]
    for (source, name), found_rows in rows.items():
        if name in ("as it is", "joint") and (source, name) != ("own batch", "joint"):
            continue  # all the same shape
        gains, over = zip(*found_rows, strict=True)
        better = "" if name == "joint" else f"{statistics.mean(value > 0 for value in over):.0%}"
        label = "" if name == "joint" else source
        lines.append(f"| {label} | {name} | {statistics.median(gains):.2f} | {statistics.mean(gains):.2f} | {better} |")
    lines += [
        "",
        "Decrease of the loss on the training data in % of it (median and mean over steps) by the parabola of the "
        "training data, with every shape at its best common length: how good the ratios between groups are, whatever "
        "the length (10 steps at most for any group). Shapes that climb on the training data count as 0.",
    ]
    return "\n".join(lines)


def _at_best_length(xi: Tensor, slope: Tensor, curvature: Tensor) -> float:
    up, bend = float(slope @ xi), float(xi @ curvature @ xi)
    if not up > 0:
        return 0.0
    length = LIMIT / float(xi.abs().max())
    length = min(length, up / bend) if bend > 0 else length
    return length * up - length**2 * bend / 2


def off_diagonal(path: Path = RESULT) -> str:
    """How much larger the off-diagonal of A is than its diagonal, by group."""
    found: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    whole: list[float] = []
    for line, step in _steps(path):
        matrix, slope = tensor(step["sample"]["curvature"]), tensor(step["sample"]["slope"])
        diagonal, rows = matrix.diagonal(), matrix.sum(1)
        whole.append(float(matrix.sum() / diagonal.sum()))
        for k, name in enumerate(line["groups"]):
            others = float((matrix[k].abs().sum() - diagonal[k].abs()) / diagonal[k].abs())
            minimum = float(slope[k] / diagonal[k]) / float(slope.sum() / matrix.sum())
            by_rows = float(slope[k] / rows[k]) / float(slope.sum() / matrix.sum())
            found[name].append((others, float(diagonal[k] / diagonal.sum()), minimum, by_rows))
    lines = [
        "| group | others / own | share of the trace | minimum alone / joint | by row sums / joint |",
        "|---|---|---|---|---|",
    ]
    for name, rows_of_group in found.items():
        others, share, minimum, by_rows = (statistics.median(column) for column in zip(*rows_of_group, strict=True))
        lines.append(f"| {name} | {others:.1f} | {share:.1%} | {minimum:.1f} | {by_rows:.1f} |")
    lines += [
        "",
        f"Medians over steps, on the training data: $\\sum_{{j \\ne k}} |A_{{kj}}| / |A_{{kk}}|$; $A_{{kk}}$ "
        "over the trace; the group's minimum from its own curvature, and from its row sum, over the joint "
        f"one. The sum of all of A is {statistics.median(whole):.2f} x its trace.",
    ]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "estimators": estimators,
    "estimators_rounding": rounding,
    "estimators_bias": bias,
    "estimators_slopes": slopes,
    "estimators_uses": uses,
    "estimators_shapes": shapes,
    "estimators_off_diagonal": off_diagonal,
}
"""By the name in the page's marker: `<!-- table:NAME -->`."""


def draw(path: Path = RESULT, out: Path = PICTURE) -> None:
    """Errors over cost, one mark per estimator and probe size (xi 0.1, 1, 10: small to large), and the bias."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found, groups = errors(path), len(read(path)[0]["groups"])
    figure, (*panels, right) = plt.subplots(1, 3, figsize=(14, 4.6), layout="constrained")
    for index, (name, cost) in enumerate(COSTS.items()):
        for xi, area in ((0.0, 60), (0.1, 18), (1.0, 60), (10.0, 160)):
            key = (name, "float64" if xi == 0 else "float32", xi)
            if key not in found:
                continue
            for axes, side in zip(panels, ("own", "sample"), strict=True):
                error = max(found[key].median(side), 1e-3)
                marker = "s" if name in TARGETS else "o"
                label = name if xi in (0.0, 1.0) else None
                axes.scatter(
                    cost(groups),
                    error,
                    s=area,
                    marker=marker,
                    color="k" if index == 10 else f"C{index}",
                    alpha=0.7,
                    label=label,
                )
    titles = ("error against the step's own batch", "error against the training data")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(xscale="log", yscale="log", xlabel="cost (forward passes)", title=title)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("median relative error of the curvature")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    top = 50.0  # those that climb on the data are drawn here
    for item in biases(path):
        for shift, value, color in ((-0.1, item.slope, "C3"), (0.1, item.curvature, "C0")):
            right.scatter(item.rank + shift, min(value, top), s=24, color=color, alpha=0.6)
    right.axhline(1, color="0.5", lw=0.8)
    right.set(yscale="log", xlabel="batch size", title="own batch / training data")
    right.set_xticks(range(3), ["smallest", "middle", "largest"])
    right.spines[["top", "right"]].set_visible(False)
    right.text(0.97, 0.97, "slope", color="C3", ha="right", va="top", transform=right.transAxes)
    right.text(0.97, 0.9, "curvature", color="C0", ha="right", va="top", transform=right.transAxes)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100)
    plt.close(figure)


def main() -> None:
    """Print the tables and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PICTURE, help="where the picture goes")
    out = parser.parse_args().out
    for name, table in TABLES.items():
        print(f"## {name}\n\n{table()}\n")
    draw(out=out)


if __name__ == "__main__":
    main()
