"""How plots look: sizes, and colours that are fixed on paper and follow the reader's scheme on a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hidlr.errors import MissingExtraError

__all__ = ["INK", "NARROW", "PAPER", "WIDE", "Size", "Theme", "drawing", "has_matplotlib"]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours by what they are for, as hex.

    Attributes:
        text: titles and marks that must be seen.
        muted: tick labels and groups in the background.
        line: axes and grid.
        surface: what lies behind.
        series: one per highlighted group.
    """

    text: str
    muted: str
    line: str
    surface: str
    series: tuple[str, ...]

    def variables(self) -> dict[str, str]:
        """The CSS variable that stands for each colour on a page."""
        roles = {"text": self.text, "muted": self.muted, "line": self.line, "surface": self.surface}
        roles |= {f"c{index}": color for index, color in enumerate(self.series)}
        return {color: f"var(--{role})" for role, color in roles.items()}


PAPER = Theme(
    text="#1b2026",
    muted="#5b6570",
    line="#d5dae0",
    surface="#ffffff",
    series=("#2459c4", "#c2560a", "#0b7f6a", "#b32d79", "#6a4cc2", "#8a6a00", "#c22f3a", "#4a8000"),
)
"""For a figure that stands alone."""

INK = Theme(
    text="#010201",
    muted="#010202",
    line="#010203",
    surface="#010204",
    series=tuple(f"#01030{index}" for index in range(len(PAPER.series))),
)
"""Colours nobody sees: `svg.to_svg` puts CSS variables in their place."""


@dataclass(frozen=True, slots=True)
class Size:
    """A plot's place on a page.

    Attributes:
        name: the class of the SVG, by which a page shows the one that fits.
        width: of the whole plot (CSS pixels).
        height: of one panel with its axes (CSS pixels).
        font: size of tick labels (CSS pixels).
        columns: panels side by side in a grid of small ones.
        buckets: stretches of x that a long line is thinned to.
        ticks: most ticks along x.
    """

    name: str
    width: int
    height: int
    font: float
    columns: int
    buckets: int
    ticks: int


WIDE = Size("wide", width=944, height=330, font=12.5, columns=4, buckets=300, ticks=8)
NARROW = Size("narrow", width=304, height=240, font=11.5, columns=2, buckets=120, ticks=4)


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib with its defaults and ours, whatever the user's own settings are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot") from error
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                # A group called "a$b$" is a name, not a formula.
                "text.parse_math": False,
                "axes.unicode_minus": False,
                "svg.fonttype": "none",
                "svg.hashsalt": "hidlr",
                "figure.dpi": 72,
                "path.simplify_threshold": 0.2,
            }
        )
        yield
