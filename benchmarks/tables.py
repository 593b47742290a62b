"""Write the tables in README and docs from the committed result files.

python -m benchmarks.tables            # rewrite every block between <!-- table:NAME --> markers
python -m benchmarks.tables --check    # exit 1 if a block is not what the results say
"""

import argparse
import json
import math
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import estimators_report

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGES = ("README.md", "docs/*.md")
# Seeds from here on were run once, with the engine as it is; lower ones chose rates and engine settings.
_FRESH_DIGITS, _FRESH_SMALL = 100, 30
# Two-sided 95% points of Student's t by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def digits(file: str = "digits.jsonl") -> str:
    """Accuracy of each method on seeds that chose nothing: mean and 95% interval."""
    runs: dict[tuple[str, float, float], list[dict[str, Any]]] = defaultdict(list)
    searched = 0
    for line in (RESULTS / file).read_text().splitlines():
        run = json.loads(line)
        if run["seed"] >= _FRESH_DIGITS:
            runs[run["method"], run["warmup"], run["rate"]].append(run)
        searched += run["method"] == "uniform" and run["seed"] < _FRESH_DIGITS
    lines = ["| | test accuracy | validation | train loss |", "|---|---|---|---|"]
    for (method, warmup, rate), found in sorted(runs.items()):
        label = f"hidlr, started at {rate:g}" if method == "hidlr" else f"uniform {rate:g}, {warmup:.0%} warm-up"
        lines.append(
            f"| {label} | {_interval(found, 'test_accuracy')} | {_interval(found, 'val_accuracy')} "
            f"| {_mean(found, 'train_loss'):.3f} |"
        )
    seeds = len({run["seed"] for found in runs.values() for run in found})
    lines.append("")
    lines.append(
        f"Means over {seeds} fresh seeds with 95% intervals (Student's t). The uniform rates are the best of the grid "
        f"without and with warm-up, chosen on validation over other seeds ({searched} runs), and 1e-3."
    )
    return "\n".join(lines)


def overhead() -> str:
    """Cost on steps that probe and on those that do not, in memory, and over a whole run."""
    data = json.loads((RESULTS / "overhead.json").read_text())
    idle, due, memory = data["not_due"], data["due"], data["memory"]
    shares = [run["share"] for run in data["digits"]]
    rows = [
        (
            f"a step that does not probe ({idle['groups']} groups, {idle['parameters'] / 1e6:.0f} M parameters)",
            f"{100 * idle['share']:.2f}% of the step",
            "under 1%",
        ),
        (
            "a measured point, beyond its forward pass",
            f"{due['place_ms_per_million_per_point']:.2f} ms per million parameters",
            "at most 1.5 ms",
        ),
        ("memory at the peak of a probe", f"{memory['peak_copies']:.2f} copies of the parameters", "at most 2"),
        ("memory between probes", f"{memory['left_copies']:.2f} copies", "0"),
        (
            "default settings on digits, wall-clock",
            f"{100 * statistics.mean(shares):.1f}% ({100 * min(shares):.1f}% to {100 * max(shares):.1f}%)",
            "10% within a third",
        ),
    ]
    lines = ["| | measured | budget |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join(lines)


def exploration() -> str:
    """What each variant of the default engine scored while it was being made: means over 2 or 3 seeds."""
    rows = [json.loads(line) for line in (RESULTS / "exploration.jsonl").read_text().splitlines()]
    columns = [("digits", name) for name in ("adamw", "momentum", "sgd", "adagrad", "rmsprop")]
    columns += [("text", "adamw"), ("tiny BERT", "adamw")]
    heads = [f"{work} {name}" for work, name in columns]
    lines = [f"| variant | {' | '.join(heads)} | small problems: median, worst |", "|---" * (len(columns) + 2) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = {(row["workload"], row["optimizer"]): row for row in rows if row["variant"] == variant}
        cells = [f"{statistics.mean(own[key]['metric']):.3f}" if key in own else "" for key in columns]
        small = own.get(("small problems", "all"))
        cells.append(f"{small['median']:.2f}, {small['worst']:.1f}" if small else "")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def small() -> str:
    """Validation loss of hidlr over the tuned uniform rate's, each a mean over the same five seeds."""
    runs = [json.loads(line) for line in (RESULTS / "small.jsonl").read_text().splitlines()]
    last = [run for run in runs if run["seed"] >= _FRESH_SMALL]
    pairs = list(dict.fromkeys((run["problem"], run["optimizer"]) for run in last))
    starts = sorted({run["rate"] for run in last if run["method"] == "hidlr"})
    heads = " | ".join(f"from {start:g}" for start in starts)
    lines = [
        f"| problem | optimizer | tuned uniform | val. loss | {heads} | verdict | training loss |",
        "|---" * (6 + len(starts)) + "|",
    ]
    verdicts: dict[str, int] = defaultdict(int)
    for name, optimizer in pairs:
        own = [run for run in last if (run["problem"], run["optimizer"]) == (name, optimizer)]
        uniform = {run["seed"]: run["val_loss"] for run in own if run["method"] == "uniform"}
        rate, warmup = next((run["rate"], run["warmup"]) for run in own if run["method"] == "uniform")
        reference = statistics.mean(uniform.values())
        ratios, logs = [], []
        for start in starts:
            mine = {run["seed"]: run["val_loss"] for run in own if run["method"] == "hidlr" and run["rate"] == start}
            ratios.append(statistics.mean(mine.values()) / reference)
            logs.append([math.log(_bounded(mine[seed]) / _bounded(uniform[seed])) for seed in sorted(uniform)])
        verdict = _verdict([statistics.mean(column) for column in zip(*logs, strict=True)])
        verdicts[verdict] += 1
        peak = f"{rate:g}{', 10% warm-up' if warmup else ''}"
        cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        fitted = _fitted_ratio(own)
        lines.append(f"| {name} | {optimizer} | {peak} | {reference:.4g} | {cells} | {verdict} | {fitted:.2f} |")
    shares = statistics.mean(run["points_share"] for run in last if run["method"] == "hidlr")
    searched = sum(run["seed"] in (0, 1) for run in runs)
    lines.append("")
    lines.append(
        "Ratios below 1 are better; the training loss's is over all starts. "
        f"{verdicts['win']} wins, {verdicts['tie']} ties, {verdicts['loss']} losses: paired "
        f"t-test on the log of the loss ratio over five seeds, p < 0.05. Probing took {100 * shares:.1f}% of the "
        f"forward-equivalents; choosing the uniform rates took {searched} runs."
    )
    return "\n".join(lines)


def small_summary() -> str:
    """The last line of `small`."""
    return small().splitlines()[-1]


def _scored(name: str) -> Callable[[], str]:
    """A table of `benchmarks.scoring`."""

    def made() -> str:
        from benchmarks.scoring import results, tables

        return tables.TABLES[name](results.load_results())

    return made


TABLES: dict[str, Callable[[], str]] = {
    "digits": digits,
    "exploration": exploration,
    "small": small,
    "small_summary": small_summary,
    "overhead": overhead,
    **{name: _scored(name) for name in ("pairs", "peers", "ceiling", "targets")},
    **estimators_report.TABLES,
}


def _fitted_ratio(runs: list[dict[str, Any]]) -> float:
    """Geometric mean of the training loss over the uniform rate's, seeds paired."""
    uniform = {run["seed"]: run["train_loss"] for run in runs if run["method"] == "uniform"}
    mine = [run for run in runs if run["method"] == "hidlr"]
    return math.exp(
        statistics.mean(math.log(_bounded(run["train_loss"]) / _bounded(uniform[run["seed"]])) for run in mine)
    )


def _bounded(loss: float) -> float:
    """A diverged run counts as a loss of a million."""
    return min(max(loss, 1e-12), 1e6) if math.isfinite(loss) else 1e6


def _verdict(differences: list[float]) -> str:
    spread = statistics.stdev(differences) / len(differences) ** 0.5
    mean = statistics.mean(differences)
    if abs(mean) <= _T[len(differences) - 1] * spread:
        return "tie"
    return "win" if mean < 0 else "loss"


def _mean(runs: list[dict[str, Any]], key: str) -> float:
    values = [run[key] for run in runs]
    return statistics.mean(value if value == value else 0.0 for value in values)


def _interval(runs: list[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    if len(values) < 2:
        return f"{values[0]:.3f}"
    half = _T.get(len(values) - 1, 1.96) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.3f} ± {half:.3f}"


def fill(text: str) -> str:
    """The page with every marked block made anew."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- table:{name} -->\n{TABLES[name]()}\n<!-- end -->"

    return re.sub(r"<!-- table:(\w+) -->.*?<!-- end -->", block, text, flags=re.DOTALL)


def main() -> int:
    """Rewrite, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for page in (page for pattern in PAGES for page in sorted(ROOT.glob(pattern))):
        text = page.read_text()
        new = fill(text)
        if new != text:
            stale.append(page)
            if not check:
                page.write_text(new)
    for page in stale:
        verb = "is out of date: run python -m benchmarks.tables" if check else "rewritten"
        print(f"{page.relative_to(ROOT)} {verb}", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
