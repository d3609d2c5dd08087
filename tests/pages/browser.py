"""Chromium for the tests of pages, and what it holds every page to."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium, or a skip that says what is missing."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason='no playwright: pip install "ktransfer[browser]"'
    )
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium: apt-get install chromium")
    # Its sandbox refuses to run as root, as which CI runs; containers have little shared memory.
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens a file as a page: `open_page(file, viewport=..., color_scheme="dark")`.

    Whatever else than the file the page asks for is refused, and fails the test at its end, as does
    what it says on its console.
    """
    contexts, files, asked, complaints = [], set(), [], []

    def hand_out(route):
        if route.request.url in files:
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    def opened(file, **options):
        context = browser.new_context(**options)
        contexts.append(context)
        files.add(Path(file).resolve().as_uri())
        context.route("**/*", hand_out)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(Path(file).resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert asked == [], "a page asks for nothing but itself"
    assert complaints == [], "a page has nothing to say on its console"
