"""What Vega draws, made fit for a page: a name, words where the pointer rests, ids of its own."""

from __future__ import annotations

import hashlib
import re
from xml.etree import ElementTree

_SVG = "http://www.w3.org/2000/svg"


def finished(drawn: str, title: str) -> str:
    """The SVG text of a chart as it is handed out.

    Args:
        drawn: by Vega. What it says of a mark to screen readers is shown where the pointer rests,
            too, as text that a browser needs no script for.
        title: what the picture is called by screen readers.
    """
    root = ElementTree.fromstring(_with_own_ids(drawn))
    for each in root.iter():
        label = each.attrib.get("aria-label")
        if label and each.attrib.get("role") == "graphics-symbol":
            _titled(each, label)
    root.set("role", "img")
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


def _with_own_ids(drawn: str) -> str:
    """Two charts in a page must not share ids: the second would be cut as the first is."""
    mark = hashlib.sha256(drawn.encode()).hexdigest()[:8]
    drawn = re.sub(r'\bid="', f'id="chart-{mark}-', drawn)
    return re.sub(r"url\(#", f"url(#chart-{mark}-", drawn)
