"""What every page is measured by, whatever it shows."""

from __future__ import annotations

PHONE = {"viewport": {"width": 360, "height": 740}}
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


def sideways_px(page):
    """How many pixels wider than the window a page is, and what sticks out; 0: it is not."""
    return page.evaluate(
        """() => {
            const root = document.scrollingElement;
            const out = [...document.querySelectorAll("body *")]
                .filter((each) => each.getBoundingClientRect().right > root.clientWidth + 1)
                .slice(0, 3).map((each) => each.outerHTML.slice(0, 80));
            const px = root.scrollWidth - root.clientWidth;
            return px > 0 ? [px, out] : 0;
        }"""
    )


def findings(page):
    """What axe finds that is serious or critical, as `rule: first element`."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{each['id']}: {each['nodes'][0]['html'][:120]}"
        for each in Axe().run(page).response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def colours(page, selector="body"):
    """The colours of an element's text and of the page behind it, as CSS writes them."""
    return page.evaluate(
        """(selector) => {
            const own = getComputedStyle(document.querySelector(selector));
            return [own.color, getComputedStyle(document.body).backgroundColor];
        }""",
        selector,
    )
