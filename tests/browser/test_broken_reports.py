"""Each check fails on a page that is broken in the way it looks for."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hidlr.reports import figures, write_report
from hidlr.reports.thin import Floats
from support.browser_runs import EVIL, long, named
from support.opened import MEGABYTES, Open

pytestmark = pytest.mark.browser

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
SCRIPT = re.compile(r"<script>.*?</script>", re.DOTALL)


@pytest.fixture
def broken(tmp_path: Path, open_page: Open) -> Callable[..., object]:
    """Open a page that was tampered with."""

    def opened(text: str, **window: object) -> object:
        (tmp_path / "broken.html").write_text(text, encoding="utf-8")
        return open_page(tmp_path / "broken.html", **window)

    return opened


@pytest.mark.parametrize(
    ("old", "new", "check", "window"),
    [
        ("<main>", '<main><img alt="" src="https://example.invalid/x.png">', "quiet", {}),  # the policy complains
        ("<main>", '<main><script>console.log("ran")</script>', "quiet", {}),
        ("const whole", "undefined.missing; const whole", "quiet", {}),
        ("<main>", '<main><div style="width: 370px">wide</div>', "fits", {"width": 360}),
        ("<main>", '<main><div style="width: 1500px">wide</div>', "fits", {"width": 1440}),
        ("--muted: #5b6570", "--muted: #8f98a3", "contrast", {}),
        ("--muted: #9ba6b2", "--muted: #5b6570", "contrast", {"dark": True}),
        ("--c2: #0b7f6a", "--c2: #7fd6c6", "contrast", {}),
        ('role="img"', 'role="group"', "figures", {}),
        ("aria-label=", "data-label=", "figures", {}),
        ('tabindex: "0"', 'tabindex: "-1"', "figures", {}),
        ('"aria-valuetext": words', '"data-valuetext": words', "figures", {}),
        ("aria-label=", "data-label=", "accessible", {}),
        ('<html lang="en">', "<html>", "accessible", {}),
        ("</footer>", f"<!--{'x' * MEGABYTES * 1_000_000}--></footer>", "light", {}),
        ("</footer>", "</footer><script>const t = Date.now(); while (Date.now() - t < 2100);</script>", "light", {}),
    ],
)
def test_a_check_fails(page: Path, broken, old: str, new: str, check: str, window: dict[str, object]) -> None:
    text = page.read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    if check in ("figures", "light") or "undefined" in new:
        text = POLICY.sub("", text)  # what was changed may run
    with pytest.raises(AssertionError):
        getattr(broken(text, **window), f"check_{check}")(**({"tries": 1} if check == "light" else {}))


def test_a_request_is_seen_where_no_policy_stops_it(page: Path, broken) -> None:
    opened = broken(
        POLICY.sub("", page.read_text()).replace("<main>", '<main><img alt="" src="https://example.invalid/x.png">')
    )
    assert "https://example.invalid/x.png" in opened.requests
    with pytest.raises(AssertionError):
        opened.check_quiet()


def test_without_its_script_a_page_tells_no_values(page: Path, broken) -> None:
    opened = broken(SCRIPT.sub("", page.read_text()))
    assert opened.panel("rates").count() == 0
    with pytest.raises(AssertionError):
        opened.check_figures()


def test_a_page_without_a_dark_scheme_stays_light(page: Path, broken) -> None:
    opened = broken(page.read_text().replace("prefers-color-scheme: dark", "prefers-color-scheme: none"), dark=True)
    assert min(opened.background()) > 200


@pytest.mark.parametrize("policy", [True, False])
def test_a_name_that_is_not_text_does_harm_unless_the_policy_stops_it(tmp_path: Path, broken, policy: bool) -> None:
    page = write_report(named(tmp_path / "run", EVIL)).read_text(encoding="utf-8")
    escaped = EVIL.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;").replace("'", "&#39;")
    assert f"<span>{escaped}</span>" in page
    page = page.replace(f"<span>{escaped}</span>", f"<span>{EVIL}</span>")
    opened = broken(page if policy else POLICY.sub("", page))
    assert opened.page.locator("img").count()
    opened.page.wait_for_timeout(100)
    assert opened.page.evaluate("window.harmed") == (None if policy else 1)
    with pytest.raises(AssertionError):
        opened.check_quiet()


def test_thinning_by_stride_loses_a_spike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open) -> None:
    def stride(x: Floats, y: Floats, buckets: int) -> tuple[Floats, Floats]:
        step = len(x) // buckets or 1
        return x[::step], y[::step]

    monkeypatch.setattr(figures, "thin", stride)
    spike = 1_237, 777.0
    opened = open_page(write_report(long(tmp_path / "run", 3_000, spike=spike, dip=(50, 1e-3))))
    with pytest.raises(AssertionError):
        opened.check_keeps("training", "each step", spike, "top")
