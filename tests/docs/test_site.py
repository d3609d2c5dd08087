"""The site that MkDocs makes: whole, without warnings, and nothing of it comes from a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import documents
import pytest
from pages.looks import DESKTOP, PHONE, colours, sideways_px

pytestmark = pytest.mark.slow

#: What a browser loads by itself, not what a reader may click.
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": str(documents.ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command, cwd=documents.ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


class Targets(HTMLParser):
    """What a page loads, where it links to, and the places in it."""

    def __init__(self):
        super().__init__()
        self.loaded, self.linked, self.places = [], [], set()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.places |= {given[key] for key in ("id", "name") if given.get(key)}
        if given.get(LOADED.get(tag, "")):
            self.loaded.append(given[LOADED[tag]])
        if tag == "a" and given.get("href"):
            self.linked.append(given["href"])


@pytest.fixture(scope="module")
def targets(site):
    found = {}
    for page in site.rglob("*.html"):
        found[page] = Targets()
        found[page].feed(page.read_text("utf-8"))
    return found


def test_pages_load_nothing_from_a_network(targets, site):
    loaded = {(page.name, each) for page, found in targets.items() for each in found.loaded}
    assert [each for each in loaded if re.match(r"(https?:)?//", each[1])] == []
    styles = [each.read_text("utf-8") for each in site.rglob("*.css")]
    assert styles
    assert [each for each in styles if re.search(r"url\(['\"]?(https?:)?//", each)] == []


def test_links_and_what_is_loaded_exist(targets, site):
    missing = []
    for page, found in targets.items():
        if page.name == "404.html":  # its links start at the top of a server
            continue
        for target in found.loaded + found.linked:
            path, _, place = unquote(target).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            there = (page.parent / path.partition("?")[0]).resolve() if path else page
            places = targets[there].places if there in targets else {place}
            if not there.is_file() or (place and place not in places):
                missing.append((page.name, target))
    assert missing == []


def test_pages_to_play_with_stand_in_their_pages(site, targets):
    for page, played in (("rule.html", "simulator"), ("training.html", "explained")):
        assert f"pages/{played}.html" in targets[site / page].loaded
        assert "<script" in (site / "pages" / f"{played}.html").read_text("utf-8")


def test_the_reference_shows_the_examples_of_docstrings(site):
    text = (site / "api.html").read_text("utf-8")
    assert "Example:" not in text
    assert text.count("&gt;&gt;&gt;") >= 10


@pytest.fixture
def open_site(browser, site):
    """Open a page of the site; what it asks for outside the site fails the test at its end."""
    contexts, outside = [], []

    def hand_out(route):
        inside = route.request.url.startswith((site.as_uri(), "data:", "blob:"))
        if not inside:
            outside.append(route.request.url)
        route.continue_() if inside else route.abort()

    def opened(name, **options):
        contexts.append(browser.new_context(**options))
        contexts[-1].route("**/*", hand_out)
        page = contexts[-1].new_page()
        page.goto((site / name).as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert outside == []


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "quickstart", "rule", "mistakes", "measured", "api"])
def test_pages_fit_a_phone(open_site, name):
    assert sideways_px(open_site(f"{name}.html", **PHONE)) == 0


@pytest.mark.browser
def test_pages_are_dark_where_the_reader_wants_it(open_site):
    light = colours(open_site("index.html", **DESKTOP, color_scheme="light"))
    dark = colours(open_site("index.html", **DESKTOP, color_scheme="dark"))
    assert light != dark


@pytest.mark.browser
def test_the_simulator_can_be_played_with_in_its_page(open_site):
    frame = open_site("rule.html", **DESKTOP).frame_locator("iframe")
    assert frame.locator("h1").inner_text() == "What to freeze"
    assert frame.locator("button").count() > 5
