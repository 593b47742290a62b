"""Tables of docs/comparison.md, from the benchmark's results: hidlr beside each peer, and where a tuned rate won."""

from collections import Counter, defaultdict

from benchmarks.scoring.pairs import pair_rows
from benchmarks.scoring.results import contest, load_results

__all__ = ["TABLES", "comparison", "losses"]

_NAMES = {
    "dadapt": "D-Adaptation", "prodigy": "Prodigy", "mechanic": "Mechanic", "schedulefree": "Schedule-Free",
    "dog": "DoG", "ldog": "LDoG", "gen": "GeN (ours, as published)", "paper": "Algorithm 1 (ours, as published)",
    "adahessian": "AdaHessian", "sophia": "SophiaH", "lamb": "LAMB", "lars": "LARS",
}  # fmt: skip


def comparison() -> str:
    """A row per peer: on how many problems hidlr was better."""
    results = load_results()
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in results.pairs:
        ours = results.ours(pair)
        for name, runs in results.peers(pair).items():
            found = contest(ours, runs, results.metric(pair))
            if found is not None:
                outcomes[name][found.outcome] += 1
    lines = ["| | problems in common | hidlr better | no difference | hidlr worse |", "|---|---:|---:|---:|---:|"]
    for name in sorted(outcomes, key=lambda name: (-sum(outcomes[name].values()), name)):
        own = outcomes[name]
        counts = f"{sum(own.values())} | {own['win']} | {own['tie']} | {own['loss']}"
        lines.append(f"| {_NAMES.get(name, name)} | {counts} |")
    lines += [
        "",
        "Seeds 100 to 104, hidlr pooled over three starting rates, each peer at its documented defaults; better and "
        "worse by a paired t-test over seeds, p < 0.05.",
    ]
    return "\n".join(lines)


def losses() -> str:
    """The pairs on which a tuned uniform rate is better, and what the search for it took."""
    lines = ["| problem | tuned uniform rate | hidlr against it | search that found it |", "|---|---|---|---|"]
    for row in pair_rows(load_results()):
        if row.verdict is not None and row.verdict.outcome == "loss":
            search = f"{row.searched} runs, {row.search_seconds / 60:.1f} min"
            lines.append(f"| {row.pair} | {row.setting} | {row.metric.name}: {row.against} | {search} |")
    return "\n".join(lines)


TABLES = {"comparison": comparison, "losses": losses}
