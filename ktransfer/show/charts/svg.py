"""What Vega draws, made fit for a page: a name, words where the pointer rests, ids of its own."""

from __future__ import annotations

import hashlib
import re
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"
_NO_MARKS = ("axis", "legend", "title")


def finished(drawn: str, title: str) -> str:
    """Return the SVG text of a chart as it is handed out.

    Args:
        drawn: by Vega. What it says of a mark to screen readers is shown where the pointer rests,
            too, as text that a browser needs no script for.
        title: what the picture is called by screen readers.
    """
    root = ElementTree.fromstring(drawn)
    _name_ids(root)
    for each in root.iter():
        label = each.attrib.get("aria-label")
        if label and each.attrib.get("aria-roledescription") not in (None, *_NO_MARKS):
            _titled(each, label)
    root.set("role", "img")
    # Where a browser has but a wider font than the one that was measured, the legend ends outside.
    root.set("overflow", "visible")
    root.set("aria-label", title)
    # Written without prefixes, which a page of HTML does not know.
    for each in root.iter():
        each.tag = each.tag.removeprefix(f"{{{_SVG}}}")
    root.set("xmlns", _SVG)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def size_px(svg: str) -> tuple[float, float]:
    """Width and height of a picture."""
    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


def _titled(element: ElementTree.Element, words: str) -> None:
    title = ElementTree.Element(f"{{{_SVG}}}title")
    title.text = words
    element.insert(0, title)


def _name_ids(root: ElementTree.Element) -> None:
    """Two charts in a page must not share ids: the second would be cut as the first is.

    Vega counts through all pictures of a process; numbered anew, a chart is the same each time.
    """
    named = [each for each in root.iter() if "id" in each.attrib]
    places = {each.attrib["id"]: f"{number}" for number, each in enumerate(named)}
    uses = [
        (each, key, found[1])
        for each in root.iter()
        for key, value in each.attrib.items()
        if key != "aria-label" and (found := re.fullmatch(r"url\(#(.+)\)", value))
    ]
    for each in named:
        each.attrib["id"] = places[each.attrib["id"]]
    for each, key, name in uses:
        each.attrib[key] = places[name]
    mark = hashlib.sha256(ElementTree.tostring(root)).hexdigest()[:8]
    for each in named:
        each.attrib["id"] = f"chart-{mark}-{each.attrib['id']}"
    for each, key, _ in uses:
        each.attrib[key] = f"url(#chart-{mark}-{each.attrib[key]})"
