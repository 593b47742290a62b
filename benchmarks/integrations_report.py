"""The table of benchmarks/results/integrations.json."""

import json
from collections.abc import Callable
from pathlib import Path

__all__ = ["TABLES"]

_RESULT = Path(__file__).parent / "results" / "integrations.json"


def overhead() -> str:
    """What the tuner adds in each integration."""
    rows = json.loads(_RESULT.read_text())["runs"]
    lines = ["| | the run without hidlr's part | hidlr's part, of the rest | beyond the plain loop |", "|---" * 4 + "|"]
    for row in rows:
        beyond = 100 * (row["share"] - rows[0]["share"])
        lines.append(
            f"| {row['integration']} | {row['rest_seconds']:.1f} s | {100 * row['share']:.1f}% | {beyond:+.1f} points |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"integrations": overhead}
