"""The tables of docs/influence.md, from the committed results."""

import json
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.influence.adaptive import METHODS
from benchmarks.influence.tasks import FOLDER

__all__ = ["TABLES", "adaptive_table", "targets_table"]

NAMES = {
    "digits-vit": "transformer on digits",
    "shakespeare-gpt": "GPT on characters",
    "minilm-sst2": "MiniLM on SST-2",
    "minilm-cola": "MiniLM on CoLA",
    "minilm-emotions": "MiniLM on GoEmotions",
}
OURS = ("hidlr", "transferred")


def targets_table() -> str:
    """Each target, what was measured, and whether it is met."""
    rows = [row for part in (_truth, _alone, _stability, _adaptive, _frozen, _transfer, _cost) for row in part()]
    lines = ["| | target | measured | met | result |", "|---|---|---|---|---|"]
    for what, target, found, met, file in rows:
        word = {True: "yes", False: "**no**", None: "open"}[met]
        lines.append(f"| {what} | {target} | {found} | {word} | `{file}.json` |")
    return "\n".join(lines)


def adaptive_table() -> str:
    """By task and method: the best validation accuracy of the seed that tunes, and means over those that report."""
    data = _load("adaptive")
    lines = ["| task | method | trained | rate | validation, tuning seed | test | validation |", "|---" * 7 + "|"]
    for task, method in dict.fromkeys((row["task"], row["method"]) for row in data["runs"]):
        tuned = [r for r in data["runs"] if (r["task"], r["method"], r["seed"]) == (task, method, data["tuning_seed"])]
        best = max(tuned, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
        own = _reported(task).get(method)
        cells = [_spread([row[key] for row in own]) if own else "" for key in ("test_accuracy", "val_accuracy")]
        share, found = f"{100 * best['trained'] / best['of']:.3g}%", f"{100 * best['val_accuracy']:.1f}"
        lines.append(f"| {NAMES[task]} | {method} | {share} | {best['rate']:g} | {found} | {' | '.join(cells)} |")
    return "\n".join(lines)


def alone_table() -> str:
    """Rank correlations with training each group alone."""
    lines = ["| model | seed | groups | PPI | total | size alone |", "|---" * 6 + "|"]
    for task, own in _load("alone")["tasks"].items():
        for seed, found in own["seeds"].items():
            if "spearman" in found:
                cells = [f"{found[key]:.2f}" for key in ("spearman", "spearman_of_totals", "spearman_of_size_alone")]
                lines.append(f"| {NAMES[task]} | {seed} | {found['groups']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def stability_table() -> str:
    """Rank correlations between seeds and over the first tenth of training."""
    lines = ["| model | between seeds | of each seed with its start, after 5% and 10% |", "|---|---|---|"]
    for task, own in _load("stability")["tasks"].items():
        if not own["over_time"]:
            continue
        cells = [", ".join(f"{value:.2f}" for value in own[key]) for key in ("over_seeds", "over_time")]
        lines.append(f"| {NAMES[task]} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


Row = tuple[str, str, str, bool | None, str]  # None: not all of it was measured


def designs_table() -> str:
    """What each way of measuring made of the same recording: lowest and mean rank correlation."""
    rows = _load("designs")["rows"]
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    heads = [f"{NAMES[task]}: {what}" for task in tasks for what in ("over seeds", "over time")]
    lines = [f"| design | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for design in dict.fromkeys(row["design"] for row in rows):
        own = {row["task"]: row for row in rows if row["design"] == design}
        cells = [own[task][key] for task in tasks for key in ("over_seeds", "over_time")]
        told = [f"{statistics.fmean(cell):.2f} ({min(cell):.2f})" for cell in cells]
        lines.append(f"| {design} | {' | '.join(told)} |")
    return "\n".join(lines)


def _truth() -> list[Row]:
    data = _load("truth")
    worst = max(data["largest_slope_error"], data["largest_curvature_error"])
    rows: list[Row] = [
        ("slopes and curvatures against autograd, float64", "within 1%", f"{100 * worst:.2g}%", worst <= 0.01, "truth")
    ]
    for dtype in ("float32", "bfloat16 autocast"):
        own = data[dtype]
        every = own.get("of", data["groups"])
        found = (
            f"{own['within_two_errors']} of {own['groups']} within two standard errors, {own['within_one_error']} "
            f"within one; {every - own['groups']} of {every} groups without influence or error"
        )
        # Two standard errors hold 95% of what is normally distributed.
        met = own["within_two_errors"] >= 0.95 * own["groups"] and own["groups"] == every
        rows.append((f"influence against the exact one, {dtype}", "within its uncertainty", found, met, "truth"))
    return rows


def _alone() -> list[Row]:
    found = {
        task: [seed["spearman"] for seed in own["seeds"].values() if "spearman" in seed]
        for task, own in _load("alone")["tasks"].items()
    }
    told = "; ".join(f"{NAMES[task]} {_range(own)}" for task, own in found.items() if own)
    met = _met([own for own in found.values() if own], 0.8)
    return [("PPI against training each group alone (Spearman)", "at least 0.8 on three models", told, met, "alone")]


def _stability() -> list[Row]:
    rows: list[Row] = []
    tasks = {task: own for task, own in _load("stability")["tasks"].items() if own["over_seeds"] and own["over_time"]}
    for key, what in (("over_seeds", "over seeds"), ("over_time", "over the first tenth of training")):
        told = "; ".join(f"{NAMES[task]} {_range(own[key])}" for task, own in tasks.items())
        met = _met([own[key] for own in tasks.values()], 0.9)
        rows.append((f"the ranking {what} (Spearman)", "at least 0.9", told, met, "stability"))
    return rows


def _adaptive() -> list[Row]:
    rows: list[Row] = []
    for task in dict.fromkeys(row["task"] for row in _load("adaptive")["runs"]):
        means = {method: _mean(own) for method, own in _reported(task).items()}
        ours = {method: value for method, value in means.items() if method == OURS[0]}
        others = {method: value for method, value in means.items() if method not in (*OURS, "full")}
        if not ours or not others or "full" not in means:
            told = f"{len(means)} of {len(METHODS)} methods have all their runs"
            rows.append((f"adaptive PEFT, {NAMES[task]}", "at least the best known method", told, None, "adaptive"))
            continue
        best, rival = max(ours, key=ours.__getitem__), max(others, key=others.__getitem__)
        told = "; ".join(f"{method} {100 * value:.1f}" for method, value in ours.items())
        rows.append(
            (
                f"adaptive PEFT, {NAMES[task]}: test accuracy", "at least the best known method",
                f"{told}; {rival} {100 * others[rival]:.1f}", ours[best] >= others[rival], "adaptive",
            )
        )  # fmt: skip
        ratio = ours[best] / means["full"]
        rows.append(
            ("the same beside full fine-tuning", "at least 99%", f"{100 * ratio:.1f}%", ratio >= 0.99, "adaptive")
        )
    return rows


def _frozen() -> list[Row]:
    data = _load("frozen")["budgets"]["0.01"]
    return [
        ("a frozen training step", "at least 1.5x faster", f"{data['faster']:.2f}x", data["faster"] >= 1.5, "frozen"),
        (
            "memory of gradients and optimizer", "at most 2%", f"{100 * data['memory_share']:.2f}%",
            data["memory_share"] <= 0.02, "frozen",
        ),
    ]  # fmt: skip


def _transfer() -> list[Row]:
    rows: list[Row] = []
    for task in dict.fromkeys(row["task"] for row in _load("adaptive")["runs"]):
        found = _reported(task)
        if "transferred" in found and "hidlr" in found:
            short = 100 * (_mean(found["hidlr"]) - _mean(found["transferred"]))
            cost = [statistics.fmean(r["choosing_seconds"] for r in found[m]) for m in ("transferred", "hidlr")]
            what = f"chosen on two layers, {NAMES[task]}"
            rows.append((what, "within 0.5 point", f"{-short:+.1f} points", short <= 0.5, "adaptive"))
            share = cost[0] / cost[1]
            rows.append((f"cost of that, {NAMES[task]}", "at most 1/3", f"{share:.2f}", share <= 1 / 3, "adaptive"))
    if (FOLDER / "gpt_transfer.json").exists():
        runs = _load("gpt_transfer")["runs"]
        gains = [100 * (run["transferred"]["val_accuracy"] - run["chosen_on_large"]["val_accuracy"]) for run in runs]
        gain = statistics.fmean(gains)
        told = f"{gain:+.1f} points ({len(runs)} seeds)"
        what = "chosen on a GPT of two layers for one of six"
        rows.append((what, "within 0.5 point", told, gain >= -0.5, "gpt_transfer"))
        share = statistics.fmean(run["small_seconds"] / run["large_seconds"] for run in runs)
        rows.append(("cost of that, GPT", "at most 1/3", f"{share:.2f}", share <= 1 / 3, "gpt_transfer"))
    return rows


def _cost() -> list[Row]:
    told = [
        (f"measuring by {by} ({own['groups']} groups), beside an epoch of SST-2", own["share_of_epoch"])
        for by, own in _load("cost")["by"].items()
    ]
    return [(what, "at most 5%", f"{100 * share:.1f}%", share <= 0.05, "cost") for what, share in told]


def _reported(task: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of the seeds that report, by method, of methods that have them all."""
    data = _load("adaptive")
    found: dict[str, list[dict[str, Any]]] = {}
    for row in data["runs"]:
        if row["task"] == task and row["seed"] in data["seeds"]:
            found.setdefault(row["method"], []).append(row)
    return {method: own for method, own in found.items() if len(own) == len(data["seeds"])}


def _met(of_models: list[list[float]], least: float) -> bool | None:
    """Whether all are high enough; None if so far they are, on fewer than three models."""
    low = any(min(own) < least for own in of_models)
    return False if low else True if len(of_models) >= 3 else None


def _mean(rows: list[dict[str, Any]]) -> float:
    return statistics.fmean(row["test_accuracy"] for row in rows)


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _spread(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.fmean(values):.1f} ± {100 * error:.1f}"


def _load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


TABLES: dict[str, Callable[[], str]] = {
    "influence_targets": targets_table,
    "influence_alone": alone_table,
    "influence_stability": stability_table,
    "influence_adaptive": adaptive_table,
    "influence_designs": designs_table,
}
