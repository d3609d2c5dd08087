"""Painting by formula: petals and leaves as polygons, grounds of noise, and light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

Colour = np.ndarray

LEAF_GREEN = (66, 122, 48)

_CIRCLE = np.exp(1j * np.linspace(0, 2 * np.pi, 18)).view(np.float64).reshape(-1, 2)


@dataclass(frozen=True)
class Pen:
    """Draws in a flower's own coordinates: unit radius, x to the right, y down."""

    draw: ImageDraw.ImageDraw
    random: Generator
    centre: np.ndarray
    radius: float
    turn: float = 0.0
    tilt: float = 1.0

    def polygon(self, points: np.ndarray, colour: Colour) -> None:
        """Fill the polygon with corners `points`, `(n, 2)`."""
        self.draw.polygon(self._placed(points), fill=_fill(colour))

    def line(self, points: np.ndarray, colour: Colour, width: float) -> None:
        """Draw a line of a width in flower radii."""
        pixels = max(1, round(width * self.radius))
        self.draw.line(self._placed(points), fill=_fill(colour), width=pixels, joint="curve")

    def dot(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Fill a circle, which the tilt makes an ellipse."""
        self.polygon(centre + radius * _CIRCLE, colour)

    def petal(
        self, angle: float, start: float, outline: np.ndarray, colour: Colour, edge: float = 0.8
    ) -> None:
        """Fill a petal that lies along the x axis, turned by `angle`; darker where it begins."""
        shade = self.random.uniform(0.9, 1.06)
        for share, light in ((1.0, edge), (0.96, 1.0), (0.7, 0.93), (0.4, 0.84)):
            # The same outline, shorter and narrower: a shadow at the edge, then towards the base.
            part = outline * (share, share if share > 0.9 else share * 0.8) + (start, 0)
            self.polygon(rotated(part, angle), colour * shade * light)

    def _placed(self, points: np.ndarray) -> list[float]:
        tilted = points * (1.0, self.tilt)
        return (rotated(tilted, self.turn) * self.radius + self.centre).ravel().tolist()


def outline_of(length: float, width: float, *, widest: float, point: float) -> np.ndarray:
    """Return a petal's contour along the x axis, `(n, 2)`.

    Pointed for `point` near 1, round below.
    """
    along = np.linspace(0, 1, 16)
    half = width / 2 * np.sin(np.pi * along ** (np.log(0.5) / np.log(widest))).clip(0) ** point
    there, back = np.stack([along, half], 1), np.stack([along, -half], 1)[::-1]
    return np.concatenate([there, back]) * (length, 1.0)


def direction(angles: np.ndarray) -> np.ndarray:
    """Return unit vectors, `(n, 2)`."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def rotated(points: np.ndarray, angle: float) -> np.ndarray:
    """Return the points `(n, 2)` turned about the origin."""
    cos, sin = np.cos(angle), np.sin(angle)
    return points @ np.array([[cos, sin], [-sin, cos]])


def colour_of(random: Generator, choices: Sequence[tuple[int, int, int]]) -> Colour:
    """Return one of the colours, a little off."""
    base = np.array(choices[int(random.integers(len(choices)))], np.float64)
    return base * random.uniform(0.85, 1.08) + random.normal(0, 6, 3)


def _fill(colour: Colour) -> tuple[int, ...]:
    return tuple(min(max(int(each), 0), 255) for each in colour.tolist())


def ground_of(size: tuple[int, int], random: Generator) -> Image.Image:
    """Grass, leaves, sky or soil, more or less out of focus."""
    ground = _GROUNDS[int(random.choice(len(_GROUNDS), p=[0.4, 0.4, 0.1, 0.1]))]
    picture = ground(size, random)
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(1.0, 4.0)))


def _grass(size: tuple[int, int], random: Generator) -> Image.Image:
    green = colour_of(random, (LEAF_GREEN, (92, 132, 52), (48, 92, 40)))
    picture = _cloudy(size, (green * 0.5, green * 0.9), random)
    draw = ImageDraw.Draw(picture)
    count = 170
    feet = random.uniform((0, 0), (size[0], size[1] * 1.3), (count, 2))
    tips = feet + np.stack([random.normal(0, 9, count), -random.uniform(15, 60, count)], axis=1)
    for foot, tip, shade in zip(feet, tips, random.uniform(0.55, 1.45, count), strict=True):
        draw.line([*foot, *tip], fill=_fill(green * shade), width=int(random.integers(1, 4)))
    return picture


def _leaves(size: tuple[int, int], random: Generator) -> Image.Image:
    green = colour_of(random, (LEAF_GREEN, (70, 100, 62), (112, 130, 60)))
    picture = _cloudy(size, (green * 0.35, green * 0.7), random)
    pen = Pen(ImageDraw.Draw(picture), random, np.zeros(2), 1.0)
    for centre in random.uniform((0, 0), size, (26, 2)):
        placed = replace(pen, centre=centre, radius=random.uniform(18, 46))
        leaf = outline_of(1.2, random.uniform(0.35, 0.7), widest=0.42, point=0.9)
        placed.petal(random.uniform(0, 2 * np.pi), 0.0, leaf, green * random.uniform(0.5, 1.3))
    return picture


def _sky(size: tuple[int, int], random: Generator) -> Image.Image:
    blue = colour_of(random, ((112, 164, 224), (150, 178, 206), (206, 186, 176)))
    return _cloudy(size, (blue, np.minimum(blue * 0.4 + 150, 250)), random)


def _soil(size: tuple[int, int], random: Generator) -> Image.Image:
    brown = colour_of(random, ((104, 76, 52), (134, 112, 88), (92, 84, 78)))
    picture = _cloudy(size, (brown * 0.5, brown * 1.2), random)
    draw = ImageDraw.Draw(picture)
    for x, y, radius in random.uniform((0, 0, 1), (*size, 6), (110, 3)):
        box = (x, y, x + radius * 1.4, y + radius)
        draw.ellipse(box, fill=_fill(brown * random.uniform(0.4, 1.5)))
    return picture


_GROUNDS: tuple[Callable[[tuple[int, int], Generator], Image.Image], ...] = (
    _grass, _leaves, _sky, _soil
)  # fmt: skip


def _cloudy(
    size: tuple[int, int], colours: tuple[Colour, Colour], random: Generator
) -> Image.Image:
    """Noise of three scales that runs between two colours."""
    width, height = size
    field = np.zeros((height, width), np.float32)
    for cells, weight in ((3, 0.5), (8, 0.3), (40, 0.2)):
        coarse = Image.fromarray(random.random((cells, cells), np.float32))
        field += weight * np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    share = np.clip((field - 0.25) * 2, 0, 1)[..., None]
    pixels = colours[0] * (1 - share) + colours[1] * share
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def lit(picture: Image.Image, random: Generator) -> Image.Image:
    """Light from a side, its brightness and warmth, focus and the grain of a camera."""
    picture = picture.filter(ImageFilter.GaussianBlur(float(random.choice([0.0, 0.4, 0.8]))))
    pixels = np.asarray(picture, np.float32)
    height, width = pixels.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    slope = random.normal(0, 0.14, 2)
    light = random.uniform(0.85, 1.1) * (1 + slope[0] * x + slope[1] * y - 0.08 * (x**2 + y**2))
    warmth = 1 + random.normal(0, 0.05) * np.array([1.0, 0.1, -1.0])
    grain = random.normal(0, random.uniform(1, 4), pixels.shape)
    seen = pixels * light[..., None] * warmth + grain
    return Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))
