"""How many parameters may be trained, and when to choose them."""

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hidlr.errors import InputError, InputTypeError

__all__ = ["Budget", "entries", "matched", "parse_budget", "spelled"]


@dataclass(frozen=True)
class Budget:
    """Freeze while training: measure for some steps, keep what matters most, go on.

    Attributes:
        size: share of the parameters in (0, 1], or their number (an int above 1).
        after: optimizer steps to measure before choosing.
        rank: "ppi" or "total", as in `select`.
        always: groups to train whatever their influence, by name or glob.
        never: groups to freeze whatever their influence, by name or glob.

    Raises:
        InputError: a value out of its range.
        InputTypeError: a size that is no number.

    Example:
        >>> Budget(0.01, after=50)
        Budget(size=0.01, after=50, rank='ppi', always=(), never=())
    """

    size: float
    after: int
    rank: str = "ppi"
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        entries(self.size, 1)
        if isinstance(self.after, bool) or not isinstance(self.after, int) or self.after < 1:
            raise InputError(f"after={self.after!r}: measure for at least one optimizer step before freezing")
        if self.rank not in ("ppi", "total"):
            raise InputError(f'rank={self.rank!r}: "ppi" (influence per parameter) or "total"')


def entries(budget: float, parameters: int) -> int:
    """How many parameters a budget allows of so many.

    Raises:
        InputTypeError: no number.
        InputError: out of range.

    Example:
        >>> entries(0.01, 1000), entries(64, 1000)
        (10, 64)
    """
    if isinstance(budget, bool) or not isinstance(budget, int | float):
        raise InputTypeError(f"budget={budget!r}: give a share of the parameters, e.g. 0.01, or their number")
    if isinstance(budget, int) and budget >= 1:
        return budget
    if not 0 < budget <= 1:
        raise InputError(
            f"budget={budget}: a share of the parameters is above 0 and at most 1; a number of them an int"
        )
    return int(budget * parameters + 1e-9)


def matched(patterns: Sequence[str], names: Collection[str], what: str) -> set[str]:
    """Names that some pattern is or fits.

    Args:
        patterns: names or globs.
        names: of all groups.
        what: the argument's name, for messages.

    Raises:
        InputTypeError: a lone string.
        InputError: a pattern that fits nothing.
    """
    if isinstance(patterns, str):
        raise InputTypeError(f"{what}={patterns!r}: give a list of names, [{patterns!r}]")
    found: set[str] = set()
    for pattern in patterns:
        own = {name for name in names if name == pattern or fnmatchcase(name, pattern)}
        if not own:
            near = difflib.get_close_matches(pattern, names, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"{what}: no group is called {pattern!r}: {hint}there are {', '.join(list(names)[:20])}")
        found |= own
    return found


def parse_budget(text: str) -> float:
    """A budget as people write it.

    Raises:
        InputError: it is none.

    Example:
        >>> parse_budget("1%"), parse_budget("0.01"), parse_budget("20000")
        (0.01, 0.01, 20000)
    """
    try:
        if text.endswith("%"):
            value: float = float(text[:-1]) / 100
        else:
            value = int(text) if text.isdigit() and text != "1" else float(text)
        entries(value, 1)
    except ValueError as error:
        raise InputError(f"budget {text!r}: write a share such as 1% or 0.01, or a number of parameters") from error
    return value


def spelled(budget: float) -> str:
    """A budget in words.

    Example:
        >>> spelled(0.005), spelled(2000)
        ('0.5% of the parameters', '2,000 parameters')
    """
    return f"{budget:,} parameters" if isinstance(budget, int) else f"{100 * budget:.4g}% of the parameters"
