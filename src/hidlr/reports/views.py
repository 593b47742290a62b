"""What the page is made of, before any markup."""

from dataclasses import dataclass

__all__ = ["Bar", "Key", "Page", "Picture", "Plot", "Section", "Table", "Tile"]


@dataclass(frozen=True, slots=True)
class Table:
    """Text in rows; the first cell of each row is its heading.

    Attributes:
        caption: what it shows.
        head: column titles.
        rows: cells, as many as titles.
        texts: columns of text, set left; the others are numbers.
        marks: a word beside the first cell of each row, "" for none; none at all if empty.
        title: a heading of its own, "" where the section's is enough.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[int] = frozenset({0})
    marks: tuple[str, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend.

    Attributes:
        name: the group.
        note: a number beside it.
        style: line style as in `figures.Line`; None is background.
    """

    name: str
    note: str
    style: int | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing in one size.

    Attributes:
        kind: "wide" or "narrow", the screens it is for.
        svg: the drawing.
        width: the widest it may be (CSS pixels).
        panels: what can be read from it, as JSON: see `readings.readings`.
    """

    kind: str
    svg: str
    width: int
    panels: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing in two sizes with the words around it.

    Attributes:
        pictures: for a desktop and for a phone.
        caption: what it shows and what it leaves out.
        keys: legend.
    """

    pictures: tuple[Picture, ...]
    caption: str
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart made of a table.

    Attributes:
        name: the group.
        value: the number as text.
        note: a second number as text.
        length: share of the longest bar, 0 to 100.
        style: line style as in `figures.Line`.
    """

    name: str
    value: str
    note: str
    length: float
    style: int | None


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it.

    Attributes:
        key: fragment of its address.
        title: heading.
        words: paragraphs.
        tables: tables.
        plots: drawings.
        bars: bars, with `bars_caption` and `bars_head` (group, value, note).
    """

    key: str
    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    bars: tuple[Bar, ...] = ()
    bars_caption: str = ""
    bars_head: tuple[str, str, str] = ("", "", "")


@dataclass(frozen=True, slots=True)
class Tile:
    """One final metric."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report.

    Attributes:
        title: the run in a few words.
        subtitle: where it came from.
        found: the headline, in sentences.
        tiles: final metrics.
        notices: what is missing, in sentences.
        sections: the rest.
        version: of hidlr.
    """

    title: str
    subtitle: str
    found: tuple[str, ...]
    tiles: tuple[Tile, ...]
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    version: str
