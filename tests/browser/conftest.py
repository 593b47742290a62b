"""A real Chromium; where there is none these tests are skipped, with the reason."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hidlr.reports import write_report
from support.browser_runs import usual
from support.opened import Open, Opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """One browser for all tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install "hidlr[browser]"')
    named = os.environ.get("HIDLR_CHROMIUM")
    program = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: make test-browser installs it on Debian as root; or name one in HIDLR_CHROMIUM")
    # Chromium has no sandbox under root; the pages are our own.
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        try:
            running = playwright.chromium.launch(executable_path=program, args=sandbox)
        except sync_api.Error as error:
            if named is not None:
                raise
            pytest.skip(f"{program} does not start: {str(error).splitlines()[0]}")
        yield running
        running.close()


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Open]:
    """Open a file in a window of its own, with the network off."""
    contexts = []

    def opened(
        page: Path, *, width: int = 1440, dark: bool = False, script: bool = True, touch: bool = False
    ) -> Opened:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            offline=True,
            java_script_enabled=script,
            has_touch=touch,
        )
        context.set_default_timeout(5000)
        contexts.append(context)
        return Opened.at(context.new_page(), page)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return usual(tmp_path_factory.mktemp("usual") / "digits")


@pytest.fixture(scope="session")
def page(folder: Path) -> Path:
    return write_report(folder)
