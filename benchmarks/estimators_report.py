"""Tables and a plot of the study of estimators, from its raw figures.

    python -m benchmarks.estimators_report    # prints the tables, draws docs/images/estimators.png

`TABLES` has one function per marked block of docs/estimators.md.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.estimators import RESULT
from benchmarks.estimators_figures import COSTS, Bias, biases, errors, read, steps, tensor
from benchmarks.estimators_plot import PICTURE, draw
from benchmarks.estimators_uses import LIMIT, minimisers


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
    count = sum(1 for _ in steps(path))
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
    for _, step in steps(path):
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
    for _, step in steps(path):
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
    for line, step in steps(path):
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
