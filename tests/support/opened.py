"""A page in a browser, and what must hold of every report that is open in one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Open = Callable[..., "Opened"]

MEGABYTES = 5
SECONDS = 2.0
CONTRAST = 4.5  # of text (WCAG 2.2, 1.4.3)
MARKS = 3.0  # of curves (WCAG 2.2, 1.4.11)

# Text and curves that can be seen, each with its contrast against the nearest opaque background.
_CONTRASTS = """() => {
  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const { rgb, a } = parse(getComputedStyle(e).backgroundColor);
      if (a === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const contrast = (element, color) => {
    const back = behind(element);
    const { rgb, a } = parse(color);
    const seen = rgb.map((v, i) => a * v + (1 - a) * back[i]);
    const [low, high] = [light(seen), light(back)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const found = { text: [], marks: [] };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || !element.getClientRects().length) continue;
    if (element.closest("script, style, title")) continue;
    const style = getComputedStyle(element);
    const color = element instanceof SVGElement ? style.fill : style.color;
    found.text.push([walker.currentNode.data.trim().slice(0, 40), contrast(element, color)]);
  }
  for (const path of document.querySelectorAll("figure path, .swatch line")) {
    const style = getComputedStyle(path);
    // Grid lines, edges around dots and curves in the background may be faint.
    const quiet = style.stroke === "none" || Number(style.strokeOpacity) < 1 || Number(style.opacity) < 1
      || /var\\(--(line|surface)\\)/.test(path.getAttribute("style"));
    if (!quiet && path.checkVisibility()) found.marks.push([style.stroke, contrast(path, style.stroke)]);
  }
  return found;
}"""

# When the page was loaded and something of it painted (ms); the paint may come a moment after the load event.
_THERE = """() => new Promise((resolve) => {
  const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd;
  new PerformanceObserver((list, observer) => {
    observer.disconnect();
    resolve(Math.max(loaded, ...list.getEntries().map((entry) => entry.startTime)));
  }).observe({ type: "paint", buffered: true });
})"""

# Of a curve: its points, where its drawing ends on one side, and where the axis has a value (CSS pixels).
_POINTS = """([section, name, value, end]) => {
  const plot = [...document.querySelectorAll(`section[aria-labelledby=${section}] .plot`)]
    .find((plot) => plot.checkVisibility());
  const data = JSON.parse(plot.dataset.panels)[0];
  const line = data.lines.find((line) => line.name === name);
  const title = [...plot.querySelectorAll("g > title")].find((title) => title.textContent === name);
  const path = title.parentElement.querySelector("path").getBoundingClientRect();
  const panel = plot.querySelector(".panel").getBoundingClientRect();
  const [, low, high, log] = data.y;
  const f = log ? Math.log10 : Number;
  const wanted = panel.bottom - panel.height * (f(value) - f(low)) / (f(high) - f(low));
  return [line.x.map((x, i) => [x, line.y[i]]), path[end], wanted];
}"""


@dataclass
class Opened:
    """A page that a browser has opened.

    Attributes:
        page: of the browser.
        file: that was opened.
        requests: addresses that it asked for.
        complaints: messages of the console and exceptions that nothing caught.
    """

    page: "Page"
    file: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, page: "Page", file: Path) -> Self:
        """Open a file from disk and wait until all of it is there."""
        opened = cls(page, file)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
        page.goto(file.resolve().as_uri())
        return opened

    def check_quiet(self) -> None:
        """It asks for nothing but itself, and the console stays empty."""
        assert self.requests == [self.file.resolve().as_uri()]
        assert self.complaints == []

    def check_fits(self) -> None:
        """Nothing makes the page wider than the window."""
        across, window = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert across == window

    def check_contrast(self) -> None:
        """Text and curves stand out from what is behind them."""
        found = self.page.evaluate(_CONTRASTS)
        assert len(found["text"]) > 20
        faint = [found for found in found["text"] if found[1] < CONTRAST]
        faint += [found for found in found["marks"] if found[1] < MARKS]
        assert not faint, faint

    def check_accessible(self) -> None:
        """What axe-core knows to check, best practices included."""
        from axe_playwright_python.sync_playwright import Axe

        results = Axe().run(self.page)
        assert results.violations_count == 0, results.generate_report()

    def check_figures(self) -> None:
        """Each figure is a picture with a name, and each of its panels can be reached, read and moved along."""
        figures = self.page.locator("figure").all()
        assert figures
        for figure in figures:
            assert figure.get_by_role("img").evaluate_all("all => all.map((one) => !!one.ariaLabel)") == [True]
            panels = figure.locator(".panel:visible").count()
            readable = figure.get_by_role("slider").evaluate_all(
                "all => all.map((one) => one.tabIndex === 0 && !!one.ariaLabel && !!one.ariaValueText)"
            )
            assert readable == [True] * panels != []

    def check_light(self, tries: int = 3) -> None:
        """It is small, and there at once; another try where other programs may have been at work."""
        assert self.file.stat().st_size < MEGABYTES * 1_000_000
        taken = []
        while not taken or (taken[-1] >= 1000 * SECONDS and len(taken) < tries):
            self.page.reload()
            taken.append(self.page.evaluate(_THERE))
        assert taken[-1] < 1000 * SECONDS, taken

    def check_keeps(self, section: str, name: str, point: tuple[float, float], end: str) -> None:
        """A curve has a point (step, value), and is drawn as far as its axis says that the value lies.

        Args:
            section: whose first panel has the curve.
            name: of the curve.
            point: its highest or lowest.
            end: "top" or "bottom", accordingly.
        """
        points, reached, wanted = self.page.evaluate(_POINTS, [section, name, point[1], end])
        assert list(point) in points
        assert abs(reached - wanted) < 2  # CSS pixels: half a line's width, and rounding

    def background(self) -> list[int]:
        """Colour behind the page's text (0 to 255)."""
        text: str = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in text.removeprefix("rgb(").removesuffix(")").split(",")]

    def panel(self, section: str, index: int = 0) -> "Locator":
        """A panel of a section that can be seen."""
        return self.page.locator(f"section[aria-labelledby='{section}'] .panel:visible").nth(index)

    def point_at(self, panel: "Locator", x: float, y: float) -> None:
        """Put the pointer at these shares of a panel's width and height."""
        panel.scroll_into_view_if_needed()
        box = panel.bounding_box()
        assert box is not None
        self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])

    def reading(self) -> str:
        """What the reader is told, line by line."""
        return self.page.locator(".reading").inner_text()
