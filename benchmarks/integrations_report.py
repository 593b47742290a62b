"""The table of benchmarks/results/integrations.json."""

import json
from collections.abc import Callable
from pathlib import Path

__all__ = ["TABLES"]

_RESULT = Path(__file__).parent / "results" / "integrations.json"


def overhead() -> str:
    """What the tuner adds in each integration."""
    rows = json.loads(_RESULT.read_text())["runs"]
    lines = ["| | run without hidlr | probes | hooks, callbacks | in all | beyond the plain loop |", "|---" * 6 + "|"]
    base = rows[0]["total"]
    for row in rows:
        shares = " | ".join(f"{100 * row[name]:+.1f}%" for name in ("probes", "added", "total"))
        beyond = f"{100 * (row['total'] - base):+.1f} points"
        lines.append(f"| {row['integration']} | {row['bare_seconds']:.1f} s | {shares} | {beyond} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"integrations": overhead}
