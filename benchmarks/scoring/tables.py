"""Markdown from results."""

from collections.abc import Callable, Iterable, Sequence

from benchmarks.scoring.pairs import PairRow, pair_rows
from benchmarks.scoring.results import STARTS, Results
from benchmarks.scoring.targets import TARGETS

__all__ = ["TABLES", "ceiling", "pairs", "peers", "targets"]

_NOTHING = "No results yet: `python -m benchmarks run`."


def pairs(results: Results) -> str:
    """A row per pair: the tuned uniform rate, ours from each start, the best peer, the verdict."""
    rows = pair_rows(results)
    heads = ["pair", "metric", "tuned uniform", "its metric", *(f"hidlr from {start:g}" for start in STARTS)]
    heads += ["best peer", "hidlr against uniform", "verdict", "search"]
    cells = [
        [
            str(row.pair),
            _metric(row),
            row.setting,
            _text(row.reference),
            *(_text(row.starts.get(start)) for start in STARTS),
            "{}: {}".format(*row.best_peer) if row.best_peer else "",
            row.against,
            _verdict(row),
            f"{row.searched} runs, {row.search_seconds / 60:.1f} min" if row.searched else "",
        ]
        for row in rows
    ]
    outcomes = [row.verdict.outcome for row in rows if row.verdict]
    note = (
        "Mean ± 95% interval (Student's t) over seeds 100 to 104, which chose no uniform setting. The verdict is a "
        "paired t-test over seeds (starting rates averaged), p < 0.05 two-sided. Search: what choosing the uniform "
        "setting took. Runs that diverged count as the worst value. "
        f"{outcomes.count('win')} wins, {outcomes.count('tie')} ties, {outcomes.count('loss')} losses."
    )
    return _table(heads, cells, note)


def peers(results: Results) -> str:
    """A row per pair, a column per peer at its documented defaults, and per rule of thumb at the tuned rate."""
    rows = [row for row in pair_rows(results) if row.peers or row.heuristics]
    names = sorted({name for row in rows for name in row.peers})
    rules = sorted({name for row in rows for name in row.heuristics})
    cells = []
    for row in rows:
        others = {**row.peers, **row.heuristics}
        cells.append(
            [str(row.pair), _metric(row), _text(row.pooled), *(_text(others.get(name)) for name in names + rules)]
        )
    note = (
        "Mean ± 95% interval over seeds 100 to 104; hidlr pooled over its starting rates. "
        "gen: the paper's rule with one group."
        + (f" At the tuned uniform rate, by a rule of thumb: {', '.join(rules)}." if rules else "")
    )
    return _table(["pair", "metric", "hidlr", *names, *rules], cells, note)


def ceiling(results: Results) -> str:
    """What fixed multipliers per group, searched by hand, gain over the best uniform rate, and our share of it."""
    rows = [row for row in pair_rows(results) if row.ceiling]
    cells = [
        [
            str(row.pair),
            _metric(row),
            _text(row.reference),
            ", ".join(f"{name} x{factor:g}" for name, factor in row.multipliers),
            _text(row.ceiling),
            row.ceiling_verdict.outcome if row.ceiling_verdict else "",
            _text(row.pooled),
            "within noise" if row.share is None else f"{row.share:.0%}",
        ]
        for row in rows
    ]
    heads = ["pair", "metric", "tuned uniform", "multipliers", "with them", "verdict", "hidlr", "share of the gain"]
    return _table(heads, cells, "The verdict is on the multipliers against the uniform rate (paired t-test, p < 0.05).")


def targets(results: Results) -> str:
    """T1 to T8."""
    if not results.runs:
        return _NOTHING
    cells = [
        [one.name, (test.__doc__ or "").strip().rstrip("."), one.figure, "met" if one.passed else "**not met**"]
        for test in TARGETS
        for one in [test(results)]
    ]
    return _table(["", "target", "measured", ""], cells, "")


TABLES: dict[str, Callable[[Results], str]] = {"pairs": pairs, "peers": peers, "ceiling": ceiling, "targets": targets}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], note: str) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return _NOTHING
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines, *(["", note] if note else [])])


def _text(value: object | None) -> str:
    return "" if value is None else str(value)


def _metric(row: PairRow) -> str:
    return f"{row.metric.name} {'↑' if row.metric.higher_is_better else '↓'}"


def _verdict(row: PairRow) -> str:
    if row.verdict is None:
        return ""
    seeds = "" if row.verdict.count == 5 else f" ({row.verdict.count} seeds)"
    return ("**loss**" if row.verdict.outcome == "loss" else row.verdict.outcome) + seeds
