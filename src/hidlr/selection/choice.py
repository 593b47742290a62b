"""What a selection is made of: one entry per group, and how a transferred one was matched."""

from dataclasses import dataclass

__all__ = ["GroupChoice", "Match"]


@dataclass(frozen=True)
class GroupChoice:
    """One group of a selection.

    Attributes:
        name: the group's.
        kept: whether it is trained.
        size: its entries.
        ppi: its influence per parameter, b^2 / (A d) (loss per parameter); None where not measured.
        total: its total influence, b^2 / (2 A) (loss); None where not measured.
        parameters: names of its parameters, without what wrappers add; empty where not known.
    """

    name: str
    kept: bool
    size: int
    ppi: float | None = None
    total: float | None = None
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """How a transferred selection found its parameters in the other model.

    Attributes:
        exact: parameters of the same name at the same depth.
        moved: parameters of the other model, each with the one that stands for it: the same name at the
            nearest depth, or else the same role there.
        unmatched: parameters of the other model that nothing stands for; they are frozen.
        unused: trained parameters of the first model that stand for none of the other's.
    """

    exact: tuple[str, ...]
    moved: dict[str, str]
    unmatched: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{len(self.exact)} parameters matched by name, {len(self.moved)} by depth"
        for names, what in ((self.unmatched, "unmatched and frozen"), (self.unused, "trained before, without a like")):
            if names:
                more = f", ... {len(names) - 5} more" if len(names) > 5 else ""
                text += f"; {len(names)} {what} ({', '.join(names[:5])}{more})"
        return text + "."
