"""Sketches, cartoons of faces and silhouettes of hands, for `drawn_sets.py`."""

from __future__ import annotations

import numpy as np
from drawing import FINE_PX, SIZE_PX, box, cloud, colour, grainy, picture_of
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

# --- sketches -----------------------------------------------------------------------------------


def _ring(x: float, y: float, across: float, down: float, start=0.0, end=1.0) -> list:
    turns = 2 * np.pi * np.linspace(start, end, 14)
    return [(x + across * np.cos(each), y + down * np.sin(each)) for each in turns]


#: Strokes in [-1, 1], y down.
THINGS: dict[str, list[list[tuple[float, float]]]] = {
    "house": [
        [(-0.7, 0), (-0.7, 0.8), (0.7, 0.8), (0.7, 0)],
        [(-0.9, 0.05), (0, -0.8), (0.9, 0.05)],
        [(-0.15, 0.8), (-0.15, 0.3), (0.2, 0.3), (0.2, 0.8)],
        [(0.35, 0.2), (0.55, 0.2), (0.55, 0.4), (0.35, 0.4), (0.35, 0.2)],
    ],
    "envelope": [
        [(-0.9, -0.5), (0.9, -0.5), (0.9, 0.5), (-0.9, 0.5), (-0.9, -0.5)],
        [(-0.9, -0.5), (0, 0.15), (0.9, -0.5)],
        [(-0.9, 0.5), (-0.25, 0)],
        [(0.9, 0.5), (0.25, 0)],
    ],
    "fish": [
        _ring(-0.15, 0, 0.65, 0.4),
        [(0.45, 0), (0.9, -0.4), (0.85, 0.4), (0.45, 0)],
        _ring(-0.5, -0.1, 0.06, 0.06),
        [(-0.1, -0.2), (0.05, 0), (-0.1, 0.2)],
    ],
    "leaf": [
        _ring(-0.1, 0, 0.7, 0.35),
        [(0.95, 0.1), (0.55, 0), (-0.75, 0)],
        [(0.2, 0), (0.0, -0.25)],
        [(-0.1, 0), (-0.3, 0.25)],
    ],
    "tree": [
        [(-0.12, 0.9), (-0.1, 0.2), (0.1, 0.2), (0.12, 0.9)],
        _ring(0, -0.3, 0.6, 0.55),
        [(0, 0.2), (0, -0.2), (0.25, -0.45)],
        [(0, -0.05), (-0.25, -0.3)],
    ],
    "umbrella": [
        _ring(0, 0, 0.9, 0.75, 0.5, 1.0),
        [(-0.9, 0), (-0.6, -0.12), (-0.3, 0), (0, -0.12), (0.3, 0), (0.6, -0.12), (0.9, 0)],
        [(0, -0.1), (0, 0.7)],
        _ring(-0.13, 0.7, 0.13, 0.15, 0.0, 0.5),
    ],
    "cup": [
        [(-0.6, -0.5), (-0.5, 0.6), (0.3, 0.6), (0.4, -0.5)],
        _ring(-0.1, -0.5, 0.5, 0.12),
        _ring(0.45, 0, 0.3, 0.3, -0.25, 0.25),
        [(-0.8, 0.7), (0.6, 0.7)],
    ],
    "bucket": [
        [(-0.6, -0.3), (-0.4, 0.7), (0.4, 0.7), (0.6, -0.3)],
        _ring(0, -0.3, 0.6, 0.14),
        _ring(0, -0.3, 0.6, 0.6, 0.5, 1.0),
        [(-0.5, 0.2), (0.5, 0.2)],
    ],
    "boat": [
        [(-0.9, 0.3), (-0.6, 0.7), (0.6, 0.7), (0.9, 0.3), (-0.9, 0.3)],
        [(0, 0.3), (0, -0.9)],
        [(0, -0.8), (0.65, 0.15), (0, 0.15)],
        [(-0.05, -0.6), (-0.5, 0.15), (-0.05, 0.15)],
    ],
    "lamp": [
        [(-0.3, -0.8), (0.3, -0.8), (0.6, -0.1), (-0.6, -0.1), (-0.3, -0.8)],
        [(0, -0.1), (0, 0.75)],
        _ring(0, 0.8, 0.4, 0.1),
        [(0.25, -0.1), (0.25, 0.2)],
    ],
}


def draw_sketch(kind: str, random: Generator) -> Image.Image:
    """Draw a thing with a shaky hand; a stroke may be missing, and others do not belong to it."""
    picture = Image.new("L", (FINE_PX, FINE_PX), int(random.integers(225, 256)))
    pen = ImageDraw.Draw(picture)
    angle, scale = random.normal(0, 0.3), random.uniform(0.3, 0.85, 2) * SIZE_PX
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.diag(scale) @ turn + random.normal(0, 8, (2, 2))
    centre = SIZE_PX + random.uniform(-30, 30, 2)
    ink, width = int(random.integers(0, 110)), int(random.integers(2, 7))
    for stroke in THINGS[kind]:
        if random.random() > 0.15:
            corners = np.array(stroke) + random.normal(0, 0.05, (len(stroke), 2))
            pen.line((corners @ matrix + centre).ravel().tolist(), ink, width, joint="curve")
    for _ in range(random.integers(0, 4)):
        corners = random.uniform(0, FINE_PX, (1, 2)) + random.normal(0, 40, (3, 2))
        pen.line(corners.ravel().tolist(), ink, width, joint="curve")
    return picture.reduce(2).convert("RGB")


# --- faces --------------------------------------------------------------------------------------

#: How mouths and brows bend (up is below 0), how open the mouth and each of the eyes is.
MOODS = {
    "happy": (0.25, 0.0, 0.08, (1.0, 1.0)),
    "sad": (-0.2, -0.12, 0.04, (0.8, 0.8)),
    "angry": (-0.15, 0.16, 0.06, (0.7, 0.7)),
    "surprised": (0.0, -0.02, 0.3, (1.3, 1.3)),
    "winking": (0.2, 0.0, 0.05, (1.0, 0.08)),
    "sleepy": (0.02, -0.04, 0.05, (0.15, 0.15)),
}


def draw_face(kind: str, random: Generator) -> Image.Image:
    """Draw a face with flat colours: hair, hat, glasses and what is behind it say nothing."""
    picture = Image.new("RGB", (FINE_PX, FINE_PX), colour(random))
    pen = ImageDraw.Draw(picture)
    for _ in range(random.integers(0, 7)):
        x, y, across, down = random.uniform(0, FINE_PX, 4)
        box = (x, y, x + across / 2, y + down / 2)
        (pen.ellipse if random.random() < 0.5 else pen.rectangle)(box, fill=colour(random))
    radius = random.uniform(45, 90)
    middle = SIZE_PX + random.uniform(-40, 40, 2)
    _head(pen, random, middle, radius)
    _features(pen, random, middle, radius, kind)
    return picture.rotate(random.normal(0, 12), Image.Resampling.BILINEAR).reduce(2)


def _head(pen: ImageDraw.ImageDraw, random: Generator, middle: np.ndarray, radius: float) -> None:
    skin, hair = colour(random), colour(random)
    wide = radius * random.uniform(0.8, 1.15)
    if random.random() < 0.7:
        shift = np.array([0, -0.25 * radius])
        pen.ellipse(box(middle + shift, wide * 1.12, radius * 1.1), fill=hair)
    outline = (20, 20, 20) if random.random() < 0.6 else None
    pen.ellipse(box(middle, wide, radius), fill=skin, outline=outline, width=3)
    if random.random() < 0.3:
        brim = box(middle - (0, 0.75 * radius), wide * 1.2, radius * 0.1)
        crown = box(middle - (0, 1.05 * radius), wide * 0.75, radius * 0.35)
        pen.rectangle(crown, fill=hair)
        pen.rectangle(brim, fill=hair)


def _features(
    pen: ImageDraw.ImageDraw, random: Generator, middle: np.ndarray, radius: float, kind: str
) -> None:
    bend, brow, opened, eyes = MOODS[kind]
    if random.random() < 0.5:  # a wink is one of either eye
        eyes = eyes[::-1]
    ink, width = (25, 20, 20), max(2, int(radius / random.uniform(14, 26)))
    apart, size = random.uniform(0.3, 0.42) * radius, random.uniform(0.1, 0.16) * radius
    for side, shut in zip((-1, 1), eyes, strict=True):
        eye = middle + np.array([side * apart, -0.2 * radius])
        pen.ellipse(box(eye, size, max(1.5, size * shut * random.uniform(0.8, 1.2))), fill=ink)
        inner = (brow + random.normal(0, 0.03)) * radius
        height = eye[1] - 0.28 * radius
        ends = ((eye[0] - side * apart / 2, height + inner), (eye[0] + side * apart / 2, height))
        pen.line(ends, fill=ink, width=width)
    steps = np.linspace(-1, 1, 15)
    half, curve = random.uniform(0.3, 0.5) * radius, (bend + random.normal(0, 0.05)) * radius
    below = middle[1] + 0.4 * radius + curve * (1 - steps**2)
    gap = opened * radius * np.sqrt(1 - steps**2) * random.uniform(0.7, 1.2)
    upper = np.stack([middle[0] + half * steps, below - gap / 2], -1)
    lower = np.stack([middle[0] + half * steps, below + gap / 2], -1)[::-1]
    pen.polygon(np.concatenate([upper, lower]).ravel().tolist(), fill=ink)
    pen.line(upper.ravel().tolist(), fill=ink, width=width)


# --- hands --------------------------------------------------------------------------------------

#: How far thumb, index, middle, ring and little finger are stretched.
SIGNS = {
    "fist": (0, 0, 0, 0, 0),
    "one": (0, 1, 0, 0, 0),
    "two": (0, 1, 1, 0, 0),
    "three": (0, 1, 1, 1, 0),
    "four": (0, 1, 1, 1, 1),
    "five": (1, 1, 1, 1, 1),
    "gun": (1, 1, 0, 0, 0),
    "horns": (0, 1, 0, 0, 1),
}
_KNUCKLES = ((-0.85, 0.25), (-0.6, -0.75), (-0.2, -0.9), (0.2, -0.85), (0.58, -0.65))
_ANGLES, _LENGTHS = (-1.0, -0.18, -0.04, 0.1, 0.28), (0.9, 1.25, 1.4, 1.3, 1.0)


def draw_hand(kind: str, random: Generator) -> Image.Image:
    """Draw the silhouette of a hand, left or right, shaded, before something blurred."""
    mask = Image.new("L", (FINE_PX, FINE_PX))
    pen = ImageDraw.Draw(mask)
    scale = random.uniform(50, 60)
    centre = SIZE_PX + random.uniform(-14, 14, 2) + np.array([0, 25])
    thick = random.uniform(0.3, 0.42) * scale
    pen.ellipse(box(centre, scale * random.uniform(0.75, 0.95), scale), fill=255)
    arm = (centre[0] - 0.55 * scale, centre[1], centre[0] + 0.55 * scale, FINE_PX + 60)
    pen.rectangle(arm, fill=255)
    spread = random.uniform(0.9, 1.4)
    for place, angle, length, stretched in zip(
        _KNUCKLES, _ANGLES, _LENGTHS, SIGNS[kind], strict=True
    ):
        reach = scale * length * (random.uniform(0.85, 1.15) if stretched else 0.25)
        turn = angle * spread + random.normal(0, 0.08)
        root = centre + np.array(place) * scale
        tip = root + reach * np.array([np.sin(turn), -np.cos(turn)])
        pen.line([*root, *tip], fill=255, width=int(thick))
        for end in (root, tip):
            pen.ellipse(box(end, thick / 2, thick / 2), fill=255)
    mask = mask.rotate(random.normal(0, 8), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _shaded(np.asarray(mask.reduce(2), float) / 255, random)


def _shaded(mask: np.ndarray, random: Generator) -> Image.Image:
    skin = np.array([0.9, 0.68, 0.55]) * random.uniform(0.35, 1.1) + random.normal(0, 0.04, 3)
    light = 0.8 + 0.3 * cloud(random, 2.2) - 0.25 * gaussian_filter(1 - mask, 3)
    behind = random.uniform(0, 1, 3) * 0.85 + 0.15 * cloud(random, 2.0)[..., None]
    inside = skin * light[..., None]
    whole = behind + gaussian_filter(mask, 0.7)[..., None] * (inside - behind)
    return grainy(picture_of(whole), random)
