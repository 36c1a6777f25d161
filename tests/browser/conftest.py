"""A real browser (Chromium), and pages opened in it as a user opens them: from a file, or from a server here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

INSTALL = Path(__file__).resolve().parents[2] / "dev/browser/install.sh"


@dataclass
class Opened:
    """An open page, what it has requested, and the errors in its console."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium; until it ends, this thread has a running event loop, in which other tests cannot start theirs."""
    found = subprocess.run([str(INSTALL)], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.fail(f"there is no browser: {found.stderr}", pytrace=False)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open a file or an address; ``context`` are settings of `Browser.new_context`."""
    contexts = []

    def opened(place: Path | str, **context: Any) -> Opened:
        made = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | context))
        contexts.append(made)
        found = Opened(made.new_page())
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("dialog", lambda dialog: found.errors.append(dialog.message))
        found.page.on("console", lambda line: found.errors.append(line.text) if line.type == "error" else None)
        found.page.goto(place.as_uri() if isinstance(place, Path) else place)
        found.page.wait_for_selector("body[data-ready]")
        return found

    yield opened
    for one in contexts:
        one.close()
