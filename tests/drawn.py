"""What a picture shows, read off its SVG."""

import re
from xml.etree import ElementTree

SVG = "{http://www.w3.org/2000/svg}"


def root_of(picture):
    """Of a chart, a path or SVG text."""
    if hasattr(picture, "svg"):
        picture = picture.svg()
    elif hasattr(picture, "read_text"):
        picture = picture.read_text("utf-8")
    return ElementTree.fromstring(picture)


def words(picture):
    """All that stands in it."""
    return [each.text for each in root_of(picture).iter(f"{SVG}text")]


def marks(picture, kind):
    """The lines, circles, rules or points: what is said of each, and the element."""
    return [
        (each.get("aria-label"), each)
        for each in root_of(picture).iter()
        if each.get("aria-roledescription") == f"{kind} mark"
        # In a page a circle is one, which Vega draws as a point.
        or (kind, each.get("aria-roledescription")) == ("circle", "circle")
    ]


def lines(picture):
    """What is said of each line, and its unbroken pieces of points in pixels of the panel."""
    return [(said, pieces(each.get("d"))) for said, each in marks(picture, "line")]


def pieces(path):
    """The points of a path whose pieces are straight."""
    found = []
    for command, x, y in re.findall(r"([ML])(-?[\d.e-]+),(-?[\d.e-]+)", path):
        if command == "M":
            found.append([])
        found[-1].append((float(x), float(y)))
    return found


def place(element):
    """Where a mark stands in its panel, in pixels."""
    x, y = re.search(r"translate\((-?[\d.e-]+),(-?[\d.e-]+)\)", element.get("transform")).groups()
    return float(x), float(y)
