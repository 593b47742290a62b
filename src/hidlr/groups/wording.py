"""How lists of names read in messages."""

from collections.abc import Sequence

_SHOWN = 5


def listed(names: Sequence[str], noun: str) -> str:
    """Count and quote names, the first few only.

    Args:
        names: what to list.
        noun: what they are, in the singular.

    Returns:
        A phrase for the middle of a sentence.

    Example:
        >>> listed(["a.weight", "a.bias"], "parameter")
        "2 parameters ('a.weight', 'a.bias')"
    """
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f", ... {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({shown}{more})"
