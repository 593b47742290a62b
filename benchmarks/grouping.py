"""Groups that `suggest_groups` suggests beside those that people make by hand.

    python -m benchmarks.grouping --data DIR     # writes benchmarks/results/grouping.json; about 20 minutes of one core
    python -m benchmarks.grouping --stale        # does again what another engine's or another rule's code has done

Every run is AdamW under `HiDLR` at its defaults, from one starting rate; only the groups differ. The suggestion is made
at the run's own initial weights, on its own first batches, at AdamW's usual rate. "random" is a random partition of the
tensors into groups of as many tensors as the suggested ones have. What is there is not done again.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

import hidlr
from benchmarks import workloads
from benchmarks.data import data_folder
from benchmarks.run import RunConfig, engine_hash, execute
from benchmarks.scoring.metrics import metric_of
from benchmarks.scoring.statistics import compare, interval
from hidlr.errors import InputError
from hidlr.workloads.base import Grouping, Workload

RESULT = Path(__file__).parent / "results" / "grouping.json"
WORKLOADS = ("digits-vit", "shakespeare-gpt", "goemotions-multitask", "housing-nam")
SEEDS = (100, 101, 102, 103, 104)
START, USUAL = 1e-4, 1e-3  # lr: where runs start, and where the suggestion is measured
BY_HAND = ("all", "role", "bias", "head", "layer", "role_layer", "tensor", "own")
SUGGESTED, RANDOM = "suggested", "random"
STEPS = 48  # of the short run


class Regrouped:
    """A workload with two groupings more, fixed for one seed."""

    def __init__(self, inner: Workload, groupings: Mapping[str, Grouping]) -> None:
        self._inner = inner
        self.groupings = MappingProxyType({**inner.groupings, **groupings})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@cache
def rule_hash() -> str:
    """Hash of the code of what suggests groups; comments, docstrings and layout do not count."""
    folder = Path(hidlr.__file__).parent
    digest = hashlib.sha256()
    for path in [*sorted((folder / "suggesting").glob("*.py")), folder / "measuring.py"]:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body[0] = ast.Pass()
        digest.update(path.name.encode() + b"\0" + ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def suggestion(workload: Workload, seed: int) -> tuple[hidlr.GroupSuggestion, float]:
    """What is suggested at the initial weights of a seed, and how long that takes (seconds)."""
    torch.manual_seed(seed)
    model = workload.build(seed)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=USUAL, weight_decay=workload.defaults.weight_decay)
    closures = [partial(workload.loss, model, workload.batch(step, seed)) for step in range(STEPS)]
    began = time.perf_counter()
    found = hidlr.suggest_groups(model, closures, optimizer, steps=STEPS)
    return found, time.perf_counter() - began


def shuffled(found: hidlr.GroupSuggestion, seed: int) -> dict[str, str]:
    """A random group for every parameter, each group with as many parameters as a suggested one."""
    names = [name for group in found.groups for name in group.param_names]
    sizes = [len(group.param_names) for group in found.groups]
    random.Random(seed).shuffle(names)
    labels = [f"random {k}" for k, size in enumerate(sizes) for _ in range(size)]
    return dict(zip(names, labels, strict=True))


def runs(name: str, seed: int, data: Path | None, done: set[tuple[str, int, str]]) -> Iterator[dict[str, Any]]:
    """Results of all groupings of a workload and seed that are not there yet."""
    workload = workloads.get(name, data)
    wanted = [scheme for scheme in (*BY_HAND, SUGGESTED, RANDOM) if (name, seed, scheme) not in done]
    if not wanted:
        return
    found, seconds = suggestion(workload, seed)
    group_of = {member: group.name for group in found.groups for member in group.param_names}
    mixed = shuffled(found, seed)
    around = Regrouped(
        workload,
        {SUGGESTED: lambda name, parameter: group_of[name], RANDOM: lambda name, parameter: mixed[name]},
    )
    config = RunConfig(name, "adamw", "hidlr", seed, START)
    for scheme in wanted:
        chosen = workload.defaults.groups if scheme == "own" else scheme
        row: dict[str, Any] = {"workload": name, "seed": seed, "groups": scheme, "engine": engine_hash()}
        if scheme in (SUGGESTED, RANDOM):
            row |= {"rule": rule_hash()}
        try:
            count = len(hidlr.param_groups(workload.build(seed), around.groupings.get(chosen, chosen)))
        except InputError as error:
            yield {**row, "status": "none", "note": str(error)}
            continue
        result = execute(replace(config, groups=chosen), data, find=lambda name, data: around)  # type: ignore[arg-type]
        kept = ("status", "note", "metric", "metrics", "seconds", "date")
        row |= {"count": count} | {key: result[key] for key in kept}
        if scheme == SUGGESTED:
            row["suggestion"] = {
                "names": found.names,
                "measured": found.measured,
                "unmeasured": found.unmeasured,
                "forwards": found.forwards,
                "seconds": round(seconds, 2),
                "text": str(found),
            }
        yield row


def load(path: Path) -> list[dict[str, Any]]:
    """Rows of the result file; none if there is no file."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def save(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the file whole, or leave the old one."""
    text = json.dumps({"command": "python -m benchmarks.grouping", "start": START, "rows": rows}, indent=1)
    beside = path.with_suffix(".tmp")
    beside.write_text(text + "\n")
    os.replace(beside, path)


def current(row: dict[str, Any]) -> bool:
    """Whether a row is of the present engine, and of the present rule where that matters."""
    return row["engine"] == engine_hash() and row.get("rule", rule_hash()) == rule_hash()


def table() -> str:
    """Mean and interval of every grouping, and the suggested one against the best made by hand."""
    rows = load(RESULT)
    schemes = [*BY_HAND, RANDOM, SUGGESTED]
    lines = [
        "| workload | metric | " + " | ".join(schemes) + " | suggested against the best by hand |",
        "|---" * (len(schemes) + 3) + "|",
    ]
    for name in dict.fromkeys(row["workload"] for row in rows):
        metric = metric_of(name)
        sign = 1 if metric.higher_is_better else -1
        scores = {
            scheme: {
                row["seed"]: row["metric"]
                for row in rows
                if row["workload"] == name and row["groups"] == scheme and row.get("metric") is not None
            }
            for scheme in schemes
        }
        cells = []
        for scheme in schemes:
            own = [row for row in rows if row["workload"] == name and row["groups"] == scheme and "count" in row]
            groups = "/".join(str(count) for count in sorted({row["count"] for row in own}))
            failed = any(row["status"] != "ok" for row in own)
            value = str(interval(list(scores[scheme].values()))) if scores[scheme] else ""
            cells.append("diverged" if failed else f"{value} ({groups})" if value else "-")
        by_hand = [scheme for scheme in BY_HAND if scores[scheme]]
        best = max(by_hand, key=lambda scheme: sign * statistics.fmean(scores[scheme].values()))
        gains = [sign * (scores[SUGGESTED][seed] - scores[best][seed]) for seed in scores[SUGGESTED]]
        verdict = compare(gains)
        told = f"{best}: {statistics.fmean(gains):+.3g}, {verdict.outcome if verdict else 'one seed'}"
        arrow = "↑" if metric.higher_is_better else "↓"
        lines.append(f"| {name} | {metric.name} {arrow} | {' | '.join(cells)} | {told} |")
    seeds = len({row["seed"] for row in rows})
    forwards = [row["suggestion"]["forwards"] for row in rows if "suggestion" in row]
    cost = f"{min(forwards)} to {max(forwards)} forward passes, {STEPS} of them with a backward pass"
    lines += [
        "",
        f"Mean ± 95% interval over {seeds} seeds, number of groups in brackets (own: the workload's own grouping). "
        "Last column: the best by hand is chosen on these same seeds, difference positive where the suggestion is "
        f"better; paired t-test, p < 0.05. A suggestion took {cost}.",
    ]
    return "\n".join(lines)


TABLES = {"grouping": table}


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="data folder (default: HIDLR_DATA)")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--stale", action="store_true", help="do again what other code has done")
    parser.add_argument("--workloads", nargs="+", default=WORKLOADS, choices=WORKLOADS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = load(arguments.out)
    if arguments.stale:
        rows = [row for row in rows if current(row)]
    for seed in arguments.seeds:
        for name in arguments.workloads:
            done = {(row["workload"], row["seed"], row["groups"]) for row in rows}
            for row in runs(name, seed, data_folder(arguments.data), done):
                rows.append(row)
                rows.sort(key=lambda row: (WORKLOADS.index(row["workload"]), row["seed"]))
                save(arguments.out, rows)
                print(name, seed, row["groups"], row.get("count"), row["status"], row.get("metric"), flush=True)


if __name__ == "__main__":
    main()
