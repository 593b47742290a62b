"""Which labels there are, and their numbers."""

from collections.abc import Sequence
from pathlib import Path

from hidlr.errors import InputError

__all__ = ["label_names", "numbered"]


def label_names(labels: Sequence[str], path: Path) -> list[str]:
    """The different labels: by value if all are whole numbers, else in the order of the alphabet.

    Raises:
        InputError: there is only one.

    Example:
        >>> label_names(["10", "9", "10"], Path("a.tsv")), label_names(["yes", "no"], Path("a.tsv"))
        (['9', '10'], ['no', 'yes'])
    """
    found = set(labels)
    if len(found) < 2:
        raise InputError(f"{path}: every example has the label {labels[0]!r}, so there is nothing to learn")
    if len(found) == len(labels) and len(labels) > 2:
        raise InputError(
            f"{path}: each of the {len(labels)} examples has a label of its own; is this the column of the label?"
        )
    if all(label.lstrip("-").isdigit() for label in found):
        return sorted(found, key=int)
    return sorted(found)


def numbered(labels: Sequence[str], names: Sequence[str], path: Path) -> list[int]:
    """The number of each label.

    Raises:
        InputError: a label is not among the names.
    """
    number = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(labels) - set(number))
    if unknown:
        raise InputError(
            f"{path} has labels that the training file lacks: {', '.join(map(repr, unknown[:5]))}"
            f"{', ...' if len(unknown) > 5 else ''}; there are {', '.join(map(repr, names[:10]))}"
        )
    return [number[label] for label in labels]
