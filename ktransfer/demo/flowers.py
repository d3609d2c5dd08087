"""Five species of flowers by formula: polygons of petals on grounds of noise, shaded and lit.

Each species has its usual colour and some that others have too; sizes, grounds and light vary in
all alike, so that it takes the form to tell them apart. Everything is a pure function of the random
generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from ktransfer.demo.painting import (
    LEAF_GREEN,
    Colour,
    Pen,
    colour_of,
    direction,
    ground_of,
    lit,
    outline_of,
    rotated,
)

#: Pictures are drawn at twice their size and then halved: Pillow's polygons have no smooth edges.
_SUPERSAMPLING = 2
_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))

_WHITE, _CREAM, _YELLOW = (246, 243, 236), (245, 232, 190), (244, 201, 38)
_ORANGE, _RED, _PINK = (238, 130, 34), (198, 28, 44), (231, 128, 160)
_LILAC, _VIOLET, _BLUE, _RUST = (190, 150, 216), (118, 78, 190), (84, 104, 208), (168, 66, 24)
_BROWN = (84, 52, 26)


def draw_flower_picture(species: str, size: tuple[int, int], random: Generator) -> Image.Image:
    """Return one picture of a species.

    Args:
        species: one of `SPECIES`.
        size: width and height in pixels.
        random: decides everything else.

    Returns:
        An RGB image.
    """
    picture = ground_of(size, random)
    drawn = picture.resize([each * _SUPERSAMPLING for each in size], Image.Resampling.BICUBIC)
    pen = Pen(ImageDraw.Draw(drawn), random, np.zeros(2), 1.0)
    width, height = drawn.size
    count = int(random.choice([1, 2, 3], p=[0.8, 0.1, 0.1]))
    for centre, share in _places(count, random):
        radius = share * min(width, height)
        tilt, turn = random.uniform(0.62, 1.0), random.uniform(-0.35, 0.35)
        placed = replace(pen, centre=centre * (width, height), radius=radius, tilt=tilt, turn=turn)
        SPECIES[species](placed)
    return lit(drawn.resize(size, Image.Resampling.BOX), random)


def _places(count: int, random: Generator) -> list[tuple[np.ndarray, float]]:
    """Centre in shares of the picture and radii in shares of its shorter side, far ones first."""
    if count == 1:
        return [(random.uniform(0.38, 0.62, 2), random.uniform(0.38, 0.49))]
    order = random.permutation(4)[:count]
    corners = np.array([(0.3, 0.3), (0.7, 0.34), (0.32, 0.7), (0.7, 0.7)])[np.sort(order)]
    radii = random.uniform(0.21, 0.28, count) + (0.05 if count == 2 else 0.0)
    return list(zip(corners + random.uniform(-0.08, 0.08, (count, 2)), radii, strict=True))


def _daisy(pen: Pen) -> None:
    random = pen.random
    colour = colour_of(random, (*[_WHITE] * 7, *[_CREAM] * 2, _PINK))
    _stem(replace(pen, tilt=1.0))
    disc = random.uniform(0.2, 0.3)
    count, slim = int(random.integers(13, 24)), random.uniform(0.75, 1.05)
    outline = outline_of(1 - disc * 0.7, slim * 4.6 / count, widest=0.68, point=0.55)
    _ring(pen, count, disc * 0.7, outline, colour)
    _seeds(pen, disc, colour_of(random, (_YELLOW, _ORANGE)), 70)


def _sunflower(pen: Pen) -> None:
    random = pen.random
    colour = colour_of(random, (*[_YELLOW] * 7, _ORANGE, _ORANGE, _RUST))
    _stem(replace(pen, tilt=1.0), thickness=0.11)
    disc = random.uniform(0.4, 0.54)
    count = int(random.integers(15, 23))
    for length, shade in ((1.0, 0.82), (0.9, 1.0)):
        outline = outline_of(length - disc * 0.8, 4.4 / count, widest=0.42, point=0.95)
        _ring(pen, count, disc * 0.8, outline, colour * shade)
    _seeds(pen, disc, colour_of(random, (_BROWN, _BROWN, (112, 84, 30))), 150)


def _rose(pen: Pen) -> None:
    random = pen.random
    colour = colour_of(random, (*[_RED] * 6, _PINK, _PINK, _WHITE, _ORANGE))
    _stem(replace(pen, tilt=1.0))
    pen = replace(pen, tilt=0.5 + 0.5 * pen.tilt)
    for angle in random.uniform(0, 2 * np.pi, 3):
        leaf = outline_of(0.62, 0.4, widest=0.4, point=0.9)
        pen.petal(angle, 0.72, leaf, colour_of(random, (LEAF_GREEN,)))
    turn = random.uniform(0, 2 * np.pi)
    rings = int(random.integers(5, 7))
    for ring in range(rings):
        share = 1 - ring / rings
        count = 5 if ring < 3 else 3
        # Broad petals that overlap, each ring turned against the one below and deeper in shadow.
        outline = outline_of(0.8 * share, 5.6 * share / count, widest=0.66, point=0.5)
        shade = 0.6 + 0.42 * share
        _ring(pen, count, 0.2 * share, outline, colour * shade, turn + ring * 0.75, edge=0.62)
    swirl = np.linspace(0.4, 3.2 * np.pi, 30)
    spiral = direction(swirl + turn) * swirl[:, None] / 62
    pen.line(spiral, colour * 0.45, 0.03)


def _tulip(pen: Pen) -> None:
    random = pen.random
    colour = colour_of(random, (*[_PINK] * 5, _LILAC, _LILAC, _RED, _ORANGE, _YELLOW))
    pen = replace(pen, tilt=1.0)
    _stem(pen, thickness=0.12, start=0.7)
    for side in (-1, 1):
        leaf = outline_of(random.uniform(1.3, 1.9), 0.34, widest=0.4, point=1.1)
        root = replace(pen, centre=pen.centre + np.array([0.0, 2.2 * pen.radius]))
        root.petal(
            -np.pi / 2 + side * random.uniform(0.2, 0.5),
            0.0,
            leaf,
            colour_of(random, (LEAF_GREEN,)),
        )
    cup = replace(pen, centre=pen.centre + np.array([0.0, 0.85 * pen.radius]))
    open_by = random.uniform(0.12, 0.38)
    # The two petals at the back, those at the sides, and the one in front that covers their feet.
    for lean, width, shade in ((0.5, 0.7, 0.74), (-0.5, 0.7, 0.7), (1, 0.8, 0.9), (-1, 0.84, 0.94)):
        outline = outline_of(1.72, width, widest=0.42, point=0.74)
        cup.petal(-np.pi / 2 + lean * open_by, 0.0, outline, colour * shade)
    cup.petal(-np.pi / 2, -0.02, outline_of(1.5, 0.86, widest=0.44, point=0.7), colour * 1.04)


def _bluebell(pen: Pen) -> None:
    random = pen.random
    colour = colour_of(random, (*[_BLUE] * 5, *[_VIOLET] * 4, _LILAC))
    side = float(random.choice([-1, 1]))
    pen = replace(pen, tilt=1.0, turn=pen.turn * 0.5)
    green = colour_of(random, (LEAF_GREEN,))
    along = np.linspace(0, 1, 24)
    # A stem that rises and bends over under the weight of its bells.
    stem = np.stack([side * (1.25 * along**2.6 - 0.45), 1.9 - 3.1 * along + 0.75 * along**4], 1)
    for lean in random.uniform(-0.6, 0.6, 2):
        root = replace(pen, centre=pen.centre + pen.radius * stem[0])
        root.petal(-np.pi / 2 + lean, 0.0, outline_of(1.7, 0.16, widest=0.4, point=0.9), green)
    pen.line(stem, green * 0.9, 0.06)
    count = int(random.integers(5, 9))
    for index in range(count):
        place = 0.5 + 0.5 * (index + 0.5) / count
        foot = np.array([np.interp(place, along, stem[:, axis]) for axis in (0, 1)])
        away = side if index % 3 else -side
        hang = foot + np.array([0.2 * away, random.uniform(0.1, 0.2)])
        pen.line(np.stack([foot, hang]), green * 0.8, 0.035)
        _bell(
            pen, hang, 0.52 - 0.3 * (place - 0.5), -0.3 * away, colour * random.uniform(0.85, 1.08)
        )


def _bell(pen: Pen, top: np.ndarray, length: float, lean: float, colour: Colour) -> None:
    """Return a hanging tube with six curled tips, of which three are seen."""
    down = np.array([0.0, 0.12, 0.45, 0.8, 1.0, 0.9, 1.02, 0.9, 1.0, 0.8, 0.45, 0.12])
    across = np.array([0.1, 0.22, 0.27, 0.33, 0.52, 0.17, 0.0, -0.17, -0.52, -0.33, -0.27, -0.22])
    for share, light in ((1.0, 0.72), (0.86, 1.0), (0.42, 1.13)):
        outline = np.stack([across * share, down], 1) * length
        pen.polygon(rotated(outline, lean) + top, colour * light)
    pen.dot(top, 0.09 * length, colour * 0.6)


def _ring(
    pen: Pen,
    count: int,
    start: float,
    outline: np.ndarray,
    colour: Colour,
    turn: float = 0.0,
    edge: float = 0.8,
) -> None:
    """Petals all around, none quite like its neighbour."""
    for index in pen.random.permutation(count):
        angle = turn + 2 * np.pi * index / count + pen.random.normal(0, 0.25 / count)
        pen.petal(angle, start, outline * pen.random.uniform(0.92, 1.05, 2), colour, edge)


def _seeds(pen: Pen, radius: float, colour: Colour, count: int) -> None:
    """Return a disc of florets, in the spiral of Vogel 1979 (doi 10.1016/0025-5564(79)90080-4)."""
    pen.dot(np.array([0.0, 0.02]), radius * 1.04, colour * 0.62)
    pen.dot(np.zeros(2), radius, colour * 0.85)
    index = np.arange(count) + 0.5
    places = direction(index * _GOLDEN_ANGLE) * (radius * 0.96 * np.sqrt(index / count))[:, None]
    size = radius * 0.8 / np.sqrt(count)
    for place, share in zip(places, index / count, strict=True):
        shade = 0.7 + 0.55 * share * pen.random.uniform(0.7, 1.1)
        pen.dot(place, size, colour * shade)


def _stem(pen: Pen, thickness: float = 0.07, start: float = 0.0) -> None:
    """Paint a stem out of the picture, with a leaf at times; from above there is none."""
    random = pen.random
    if start == 0.0 and random.random() < 0.3:
        return
    green = colour_of(random, (LEAF_GREEN,))
    along = np.linspace(start, 5.0, 12)
    stem = np.stack([random.normal(0, 0.07) * along**1.5, along], axis=1)
    pen.line(stem, green * 0.7, thickness * 1.25)
    pen.line(stem, green, thickness * 0.7)
    if start == 0.0 and random.random() < 0.6:
        foot = replace(pen, centre=pen.centre + pen.radius * stem[3])
        side = random.choice([-0.4, np.pi + 0.4])
        foot.petal(side, 0.0, outline_of(0.8, 0.3, widest=0.4, point=0.9), green)


SPECIES: dict[str, Callable[[Pen], None]] = {
    "bluebell": _bluebell,
    "daisy": _daisy,
    "rose": _rose,
    "sunflower": _sunflower,
    "tulip": _tulip,
}
