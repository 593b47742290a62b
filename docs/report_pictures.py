"""Draw the pictures of report.md from the runs in docs/runs: python docs/report_pictures.py (needs hidlr[browser])."""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from hidlr.reports import write_comparison, write_report

DOCS = Path(__file__).parent
RUNS = [DOCS / "runs" / name for name in ("auto", "uniform")]
WIDTH = 900


def main() -> None:
    """Write each page, open it as a reader would, and keep what is seen of it."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        sys.exit("no Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        one = write_report(RUNS[0], Path(folder) / "report.html")
        both = write_comparison(RUNS, Path(folder) / "comparison.html")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": 1000}, device_scale_factor=1.25, reduced_motion="reduce"
        )
        page.goto(one.as_uri())
        _keep(page, "report.png", "header", "rates", point="rates")
        _keep(page, "report-parabolas.png", "parabolas", "parabolas")
        page.goto(both.as_uri())
        _keep(page, "report-side-by-side.png", "header", "training", point="training")
        browser.close()


def _keep(page: Page, name: str, first: str, last: str, point: str = "") -> None:
    """Save the stretch of a page from one section to another, with the values halfway along a curve of a third."""
    page.set_viewport_size({"width": WIDTH, "height": page.evaluate("document.documentElement.scrollHeight")})
    if point:
        box = _place(page, f"section[aria-labelledby='{point}'] .panel:visible")
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    start = _place(page, first if first == "header" else f"section[aria-labelledby='{first}']")
    end = _place(page, f"section[aria-labelledby='{last}']")
    top = max(0, start["y"] - 16)
    clip = {"x": 0, "y": top, "width": WIDTH, "height": end["y"] + end["height"] + 16 - top}
    page.screenshot(path=DOCS / "images" / name, clip=clip, scale="device")


def _place(page: Page, selector: str) -> dict[str, float]:
    box = page.locator(selector).first.bounding_box()
    assert box is not None, selector
    return dict(box)


if __name__ == "__main__":
    main()
