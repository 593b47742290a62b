"""Which integration is tested for what: read from the marks of the tests, so that no cell can be claimed.

python -m benchmarks.tables            # writes the tables into docs/integrations.md

A test says what it shows with ``@pytest.mark.covers(integration, feature)`` or, for what is refused with a reason,
``@pytest.mark.refuses(integration, what)``.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FEATURES", "TABLES", "Mark", "marks"]

TESTS = Path(__file__).parent.parent / "tests"
FEATURES = ("accumulate", "AMP", "clip", "resume", "freeze", "schedule")


@dataclass(frozen=True, order=True)
class Mark:
    """What one test says of one integration.

    Attributes:
        kind: "covers" or "refuses".
        integration: a row.
        feature: a column, or what is refused.
        file: the test's, from the repository's root.
        test: its name.
    """

    kind: str
    integration: str
    feature: str
    file: str
    test: str


def marks(folder: Path = TESTS) -> list[Mark]:
    """Every mark in a folder of tests, in the order of files and lines."""
    found = []
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                # Decorators apply from the last to the first.
                found += [Mark(*own, path.relative_to(folder.parent).as_posix(), node.name) for own in _of(node)]
    return found


def _of(test: ast.FunctionDef) -> Iterator[tuple[str, str, str]]:
    for decorator in test.decorator_list:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        if decorator.func.attr in ("covers", "refuses"):
            integration, feature = (ast.literal_eval(argument) for argument in decorator.args)
            if decorator.func.attr == "covers" and feature not in FEATURES:
                raise ValueError(f"{test.name}: feature {feature!r} is none of {FEATURES}")
            yield decorator.func.attr, integration, feature


def cells() -> str:
    """Integrations by features; every cell has a test, or the page cannot be made."""
    covered = [mark for mark in marks() if mark.kind == "covers"]
    refused = [mark for mark in marks() if mark.kind == "refuses"]
    lines = [f"| | {' | '.join(FEATURES)} |", "|---" * (len(FEATURES) + 1) + "|"]
    for row in _rows(covered):
        found = []
        for feature in FEATURES:
            if any(mark.integration == row and mark.feature == feature for mark in covered):
                found.append("tested")
            elif any(mark.integration == row and mark.feature == feature for mark in refused):
                found.append("refused")
            else:
                raise ValueError(f"no test covers {feature!r} of {row!r}: mark one, or one that shows the refusal")
        lines.append(f"| {row} | {' | '.join(found)} |")
    return "\n".join(lines)


def evidence() -> str:
    """The tests behind each cell, and what is refused."""
    every = marks()
    lines = ["| integration | what | test |", "|---|---|---|"]
    for row in _rows(every):
        for mark in (mark for mark in every if mark.integration == row):
            what = mark.feature if mark.kind == "covers" else f"{mark.feature}: refused"
            lines.append(f"| {row} | {what} | `{mark.file}::{mark.test}` |")
    return "\n".join(lines)


def _rows(found: list[Mark]) -> list[str]:
    names = dict.fromkeys(mark.integration for mark in found)
    return sorted(names, key=lambda name: (name != "plain loop", name.lower()))


TABLES: dict[str, Callable[[], str]] = {"conformance": cells, "conformance_tests": evidence}
