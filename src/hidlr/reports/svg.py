"""A matplotlib figure as an SVG that takes its colours and font from the page around it."""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from hidlr.reports.text import printable
from hidlr.reports.theme import INK, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["to_svg"]

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_COLORS = INK.variables()
_COLOR = re.compile(r"#[0-9a-f]{6}\b")
# Before and after matplotlib 3.11, which split the shorthand.
_FONT = re.compile(r"(font: [^;']*?\dpx)[^;]*|font-family: [^;]*; ?")
_NUMBER = re.compile(r"-?\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def to_svg(figure: "Figure", prefix: str, label: str, kind: str) -> str:
    """Render a figure drawn in `theme.INK`.

    Args:
        figure: the figure; an artist with a gid shows its label when pointed at.
        prefix: put before every id, so that several SVGs can share a page.
        label: what the figure shows, for those who do not see it.
        kind: class of the SVG element.

    Returns:
        An ``<svg>`` element, well-formed XML without anything to fetch.
    """
    buffer = io.StringIO()
    with drawing(), warnings.catch_warnings():
        # Text is drawn by the reader's font, whatever the one measured with has.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(buffer.getvalue())
    titles = {artist.get_gid(): str(artist.get_label()) for artist in figure.findobj() if artist.get_gid()}
    for parent in root.iter():
        for child in [c for c in parent if c.tag.endswith(("}metadata", "}style"))]:
            parent.remove(child)
    for element in root.iter():
        _retouch(element, prefix, titles)
    width, height = root.get("viewBox", "0 0 1 1").split()[2:]
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "class": kind,
        "role": "img",
        "aria-label": printable(label),
        "width": f"{float(width):.0f}",
        "height": f"{float(height):.0f}",
    }
    ET.register_namespace("", _SVG[1:-1])
    return ET.tostring(root, encoding="unicode")


def _retouch(element: ET.Element, prefix: str, titles: dict[str | None, str]) -> None:
    name = element.attrib.pop("id", None)
    if name in titles:
        title = ET.Element(f"{_SVG}title")
        title.text = titles[name]
        element.insert(0, title)
    elif name is not None and element.tag != f"{_SVG}g":
        element.set("id", prefix + name)
    target = element.attrib.pop(_HREF, None)
    if target is not None:
        element.set("href", f"#{prefix}{target[1:]}")
    for key, value in element.attrib.items():
        if key in ("d", "transform", "x", "y", "style", "points"):
            value = _NUMBER.sub(_rounded, value)
        if key == "style":
            value = _COLOR.sub(lambda match: _COLORS.get(match[0], match[0]), value)
            value = _FONT.sub(lambda match: f"{match[1]} var(--sans)" if match[1] else "", value)
        element.set(key, _REFERENCE.sub(lambda match: f"url(#{prefix}{match[1]})", value))
    if "d" in element.attrib:
        element.set("d", " ".join(element.attrib["d"].split()))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if element.tag == f"{_SVG}g":
        element.text = None
    element.tail = None


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")
