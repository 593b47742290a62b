"""Write the tables in README and docs from the committed result files.

python -m benchmarks.tables            # rewrite every block between <!-- table:NAME --> markers
python -m benchmarks.tables --check    # exit 1 if a block is not what the results say
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    comparison,
    conformance,
    estimators_report,
    grouping,
    integrations_report,
    matrix,
    precision,
    scaling,
)
from benchmarks.influence import report as influence_report
from benchmarks.paper import pages as paper_pages

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PAGES = ("README.md", "docs/*.md", "docs/paper/*.md")


def overhead() -> str:
    """Cost on steps that probe and on those that do not, in memory, and over a whole run."""
    data = json.loads((RESULTS / "overhead.json").read_text())
    idle, due, memory = data["not_due"], data["due"], data["memory"]
    looking = data["memory_looking_back"]
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
        (
            "the same in the warm-up, beside the copy it keeps between probes",
            f"{looking['peak_copies']:.2f} copies",
            "at most 2",
        ),
        ("memory between probes, after the warm-up", f"{memory['left_copies']:.2f} copies", "0"),
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


def _variants(name: str) -> str:
    rows = [json.loads(line) for line in (RESULTS / name).read_text().splitlines()]
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    lines = [f"| variant | {' | '.join(pairs)} |", "|---" * (len(pairs) + 1) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = {row["pair"]: row["metric"] for row in rows if row["variant"] == variant}
        cells = [f"{own[pair]:.3f}" if pair in own else "" for pair in pairs]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def look_back() -> str:
    """What variants of looking back on fresh batches scored while the engine was being made."""
    return _variants("look_back.jsonl")


def trailing() -> str:
    """The same of looking back at a trailing average."""
    return _variants("trailing.jsonl")


def climb() -> str:
    """The same of how fast the warm-up climbs."""
    return _variants("climb.jsonl")


def pace() -> str:
    """The same of how much a probe counts in runs eight times as long."""
    return _variants("pace.jsonl")


def start() -> str:
    """The same of where the climb starts, and of how often is probed."""
    return _variants("start.jsonl")


def fixed_rates() -> str:
    """What looking back sees at fixed multiples of the tuned rate, and where such runs end."""
    rows = [json.loads(line) for line in (RESULTS / "fixed_rates.jsonl").read_text().splitlines()]
    lines = [
        "| pair | rate | metric at the end | loss at 40% | xi over 4 steps | over 10% | over 20% | above its average |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        xi = row["xi"]
        seen = f"{xi['4 steps']:.2f} | {xi['10%']:.2f} | {xi['20%']:.2f} | {row['above_average'] / row['progress']:.2f}"
        lines.append(f"| {row['pair']} | x{row['times']:g} | {row['metric']:.4f} | {row['loss']:.3f} | {seen} |")
    return "\n".join(lines)


def _scored(name: str, suite: str = "main") -> Callable[[], str]:
    """A table of `benchmarks.scoring`."""

    def made() -> str:
        from benchmarks.scoring import results, tables

        return tables.TABLES[name](results.load_results(suite=suite))

    return made


TABLES: dict[str, Callable[[], str]] = {
    "exploration": exploration,
    "look_back": look_back,
    "trailing": trailing,
    "climb": climb,
    "pace": pace,
    "start": start,
    "fixed_rates": fixed_rates,
    "overhead": overhead,
    **{name: _scored(name) for name in ("pairs", "peers", "ceiling", "targets")},
    "outside": _scored("pairs", "outside"),
    **estimators_report.TABLES,
    **conformance.TABLES,
    **scaling.TABLES,
    **precision.TABLES,
    **grouping.TABLES,
    **comparison.TABLES,
    **matrix.TABLES,
    **integrations_report.TABLES,
    **influence_report.TABLES,
    **paper_pages.TABLES,
}


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
