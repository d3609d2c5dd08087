"""Images made by formula alone, with labels that come free: no photo, no scan, no download.

Each image has two labels that do not depend on each other: its *form* (which formula, with which
parameters: the law) and its *palette* (which four colours). A network that must name both has to
look at contours, strokes and textures as well as at colours.

Families of forms, each with its source:

- ``ifs``: fractals of iterated function systems (Kataoka et al. 2021, arXiv 2101.08515), their
  contraction bounded as in Anderson and Farrell 2021 (arXiv 2110.03091).
- ``leaves``: dead leaves, overlapping shapes under a size law (Baradad et al. 2021,
  arXiv 2106.05963).
- ``spectrum``: noise with a chosen power spectrum, then folded, warped or lit (arXiv 2106.05963).
- ``cells``: cellular texture (Worley 1996, "A cellular texture basis function").
- ``waves``: stripes, checks, rings and spirals under a smooth warp.
- ``rosette``: superformula contours (Gielis 2003), layered around a centre, in the spirit of the
  radial contours of Kataoka et al. 2022 (arXiv 2206.09132).
- ``glyph``: a few curved strokes with jittered control points, sometimes seen through few pixels.

Everything is a pure function of the seed: two calls of ``make_bank`` with the same arguments are
bit-identical.

Example:
    >>> bank = make_bank(images=8, classes=14, seed=0)
    >>> bank.images.shape, str(bank.images.dtype)
    ((8, 96, 96, 3), 'uint8')
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

SIZE_PX = 96
PALETTES = 96
GREY_PALETTES = 12
FAMILIES = {"ifs": 4, "leaves": 3, "spectrum": 3, "cells": 2, "waves": 2, "rosette": 6, "glyph": 7}
Law = dict[str, Any]

_AXIS = (np.arange(SIZE_PX, dtype=np.float32) + 0.5) / SIZE_PX * 2 - 1
_X, _Y = np.meshgrid(_AXIS, _AXIS)
_FY = np.fft.fftfreq(SIZE_PX).astype(np.float32)[:, None] * SIZE_PX
_FX = np.fft.rfftfreq(SIZE_PX).astype(np.float32)[None, :] * SIZE_PX


@dataclass(frozen=True)
class Bank:
    """A set of labelled images: ``(n, 96, 96, 3)`` uint8, and two ``(n,)`` int32 label vectors."""

    images: np.ndarray
    forms: np.ndarray
    palettes: np.ndarray


# --- colour -------------------------------------------------------------------------------------


def draw_palettes(seed: int, count: int = PALETTES) -> np.ndarray:
    """Return `(count, 4, 3)` colours in [0, 1]: three of the subject and one of the ground.

    The first `GREY_PALETTES` are grey, as much that a camera delivers is (X-rays, steel, scans).
    """
    rng = np.random.default_rng([seed, 1])
    hue = rng.random((count, 1)) + rng.normal(0, 0.06, (count, 4))
    hue[:, 3] = rng.random(count)
    saturation = rng.beta(2.0, 1.5, (count, 4))
    value = rng.uniform(0.15, 1.0, (count, 4))
    # A ground as light as its subject would show nothing.
    value[:, 3] = 0.1 + 0.9 * ((value[:, 0] + rng.uniform(0.3, 0.7, count)) % 1)
    saturation[:GREY_PALETTES] = 0
    phase = (hue[..., None] + np.array([0, 2 / 3, 1 / 3])) % 1
    pure = np.clip(np.abs(phase * 6 - 3) - 1, 0, 1)
    colours = value[..., None] * (1 - saturation[..., None] * (1 - pure))
    return colours.astype(np.float32)


def ramp(palette: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Colour a field of values in [0, 1] by running through the palette."""
    place = np.clip(value, 0, 1) * (len(palette) - 1.001)
    low = place.astype(np.int32)
    part = (place - low)[..., None]
    return palette[low] * (1 - part) + palette[low + 1] * part


def ground(palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Say what lies behind the subject, mostly in colour four: plain, shaded, cloud or clutter."""
    kind = rng.integers(6)
    if kind in (0, 5):
        return np.broadcast_to(palette[3], (SIZE_PX, SIZE_PX, 3)).copy()
    other = palette[3] * rng.uniform(0.2, 1.2) + rng.normal(0, 0.08, 3)
    if kind == 4:
        clutter = np.clip(palette[3] + rng.normal(0, 0.12, (4, 3)), 0, 1).astype(np.float32)
        family = "leaves" if rng.random() < 0.5 else "spectrum"
        return _IMAGES[family](_LAWS[family](rng), clutter, rng)
    if kind == 1:
        angle = rng.uniform(0, 2 * np.pi)
        field = 0.5 + 0.4 * (np.cos(angle) * _X + np.sin(angle) * _Y)
    else:
        field = unit(coloured_noise(rng, rng.uniform(1.0, 2.6)))
    return palette[3] + field[..., None] * (other - palette[3])


def over(image: np.ndarray, colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lay `colour` over `image` where `alpha` is one."""
    return image + alpha[..., None] * (colour - image)


# --- fields -------------------------------------------------------------------------------------


def unit(field: np.ndarray) -> np.ndarray:
    """Stretches a field to [0, 1], the outer two standard deviations clipped."""
    return np.clip((field - field.mean()) / (4 * field.std() + 1e-6) + 0.5, 0, 1)


def coloured_noise(rng: Generator, exponent: float, gain: np.ndarray | float = 1.0) -> np.ndarray:
    """Return a random field whose amplitude falls as frequency to the power of minus `exponent`."""
    radius = np.hypot(_FY, _FX)
    radius[0, 0] = 1
    shape = radius.shape
    wave = rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)
    wave = wave * gain * radius**-exponent
    wave[0, 0] = 0
    return np.fft.irfft2(wave, s=(SIZE_PX, SIZE_PX)).astype(np.float32)


def turned(angle: float, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)):
    """Return the pixel grid seen after a shift, a turn and a magnification."""
    x, y = (_X - shift[0]) / scale, (_Y - shift[1]) / scale
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return c * x + s * y, c * y - s * x


# --- families: each has a law (what its class fixes) and a rendering (what varies) ---------------


def ifs_law(rng: Generator) -> Law:
    """Two to five affine maps whose singular values keep the fractal from collapsing."""
    count = int(rng.integers(2, 6))
    while True:
        sizes = np.sort(rng.uniform(0.05, 0.95, (count, 2)), axis=1)[:, ::-1]
        if 0.5 * (5 + count) <= (sizes @ [1, 2]).sum() <= 0.5 * (6 + count):
            break
    turns = _rotations(rng.uniform(0, 2 * np.pi, 2 * count)).reshape(2, count, 2, 2)
    flip = rng.choice([-1.0, 1.0], (count, 1, 2))
    linear = turns[0] @ (sizes[:, :, None] * turns[1]) * flip
    return {"linear": linear, "shift": rng.uniform(-1, 1, (count, 2)), "hue": rng.random(count)}


def _rotations(angles: np.ndarray) -> np.ndarray:
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)


def ifs_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Plot an orbit of the system: colour by the maps last taken, light by density."""
    points, hues = _chaos_game(law, rng)
    points = points @ _rotations(np.array([rng.normal(0, 0.3)]))[0].T
    low, high = np.percentile(points, [1, 99], axis=0)
    zoom = rng.uniform(0.6, 1.05)
    place = (points - (low + high) / 2) / (np.max(high - low) + 1e-6) * zoom + 0.5
    cell = np.floor((place + rng.uniform(-0.1, 0.1, 2)) * SIZE_PX).astype(np.int64)
    kept = ((cell >= 0) & (cell < SIZE_PX)).all(axis=1)
    index = cell[kept, 1] * SIZE_PX + cell[kept, 0]
    density = np.bincount(index, minlength=SIZE_PX**2).astype(np.float32)
    hue = np.bincount(index, hues[kept], SIZE_PX**2) / np.maximum(density, 1)
    light = np.minimum(np.log1p(density) / np.log(8), 1).reshape(SIZE_PX, SIZE_PX)
    colour = ramp(palette[:3], hue.reshape(SIZE_PX, SIZE_PX)) * (0.5 + 0.5 * light[..., None])
    return over(ground(palette, rng), colour, np.minimum(light * 2, 1))


def _chaos_game(law: Law, rng: Generator, points: int = 2048, steps: int = 14):
    """Many short orbits side by side; the first steps only bring them onto the attractor."""
    linear = law["linear"] * (1 + rng.normal(0, 0.04, law["linear"].shape))
    chance = np.abs(np.linalg.det(linear)) + 0.02
    # Inverse of the cumulative chances by lookup: `Generator.choice(p=...)` is ten times slower.
    which = np.repeat(np.arange(len(linear)), np.ceil(chance / chance.sum() * 256).astype(int))
    which = which[rng.integers(len(which), size=(steps, points))]
    place, hue, orbit, hues = np.zeros((points, 2)), np.full(points, 0.5), [], []
    for step, chosen in enumerate(which):
        place = np.einsum("nij,nj->ni", linear[chosen], place) + law["shift"][chosen]
        hue = (hue + law["hue"][chosen]) / 2
        if step >= 4:
            orbit.append(place)
            hues.append(hue)
    return np.concatenate(orbit), np.concatenate(hues)


def leaves_law(rng: Generator) -> Law:
    """Say which shape falls, how large, and whether all fall the same way round."""
    corners = int(rng.choice([3, 4, 5, 6, 24]))
    return {
        "corners": corners,
        "dent": rng.uniform(0.3, 0.8) if rng.random() < 0.4 else 1.0,
        "aspect": rng.uniform(0.2, 1.0),
        "angle": rng.uniform(0, np.pi) if rng.random() < 0.5 else None,
        "exponent": rng.uniform(1.2, 3.0),
        "least": rng.uniform(2, 8),
        "most": rng.uniform(14, 50),
        "edge": rng.random() < 0.3,
    }


def leaves_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Drop a few hundred shapes over one another."""
    count = int(np.clip(9000 / law["least"] ** 2, 60, 220))
    power = 1 - law["exponent"]
    low, high = law["least"] ** power, law["most"] ** power
    radius = (low + rng.random(count) * (high - low)) ** (1 / power) * rng.uniform(0.8, 1.25)
    outline = _polygon(law["corners"], law["dent"], law["aspect"])
    angle = rng.uniform(0, 2 * np.pi, count) if law["angle"] is None else law["angle"]
    angle = angle + rng.normal(0, 0.12, count)
    centre = rng.uniform(-8, SIZE_PX + 8, (count, 1, 2))
    corners = (outline @ _rotations(angle)) * radius[:, None, None] + centre
    # Light follows size: without it, big and small leaves would share one brightness law.
    colour = ramp(palette, rng.random(count)) * rng.uniform(0.6, 1.15, (count, 1))
    fill = (np.clip(colour, 0, 1) * 255).astype(int)
    canvas = Image.new("RGB", (2 * SIZE_PX, 2 * SIZE_PX), tuple(fill[0].tolist()))
    pen = ImageDraw.Draw(canvas)
    for one, shade in zip((corners * 2).reshape(count, -1).tolist(), fill.tolist(), strict=True):
        pen.polygon(one, fill=tuple(shade), outline=(20, 20, 20) if law["edge"] else None)
    return np.asarray(canvas.reduce(2), np.float32) / 255


def _polygon(corners: int, dent: float, aspect: float) -> np.ndarray:
    """Return a regular polygon, or a star when `dent` is below one, flattened by `aspect`."""
    angle = np.arange(2 * corners) * np.pi / corners
    radius = np.where(np.arange(2 * corners) % 2, dent * np.cos(np.pi / corners), 1.0)
    return np.stack([radius * np.cos(angle), aspect * radius * np.sin(angle)], -1)


def spectrum_law(rng: Generator) -> Law:
    """Slope or ring of the spectrum, its direction, and what is done to the field."""
    return {
        "exponent": rng.uniform(0.6, 2.4),
        "angle": rng.uniform(0, np.pi),
        "stretch": rng.uniform(1, 6) if rng.random() < 0.6 else 1.0,
        "ring": rng.uniform(3, 24) if rng.random() < 0.5 else None,
        "fold": str(rng.choice(["plain", "ridge", "marble", "step", "relief"])),
        "turns": rng.uniform(2, 6),
    }


def spectrum_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Noise under that spectrum, folded and coloured."""
    angle = law["angle"] + rng.normal(0, 0.1)
    along = np.cos(angle) * _FX + np.sin(angle) * _FY
    across = np.cos(angle) * _FY - np.sin(angle) * _FX
    radius = np.hypot(along * law["stretch"], across) * rng.uniform(0.8, 1.25) + 0.5
    gain = radius ** -law["exponent"]
    if law["ring"] is not None:
        gain = np.exp(-(((radius - law["ring"]) / (0.25 * law["ring"])) ** 2))
    field = unit(coloured_noise(rng, 0.0, gain))
    if law["fold"] == "relief":
        slope = np.gradient(field, axis=1) * 10
        return ramp(palette, field) * np.clip(0.7 + slope, 0.2, 1.4)[..., None]
    return ramp(palette, _fold(field, law))


def _fold(field: np.ndarray, law: Law) -> np.ndarray:
    if law["fold"] == "ridge":
        return 1 - np.abs(field - 0.5) * 3
    if law["fold"] == "marble":
        return 0.5 + 0.5 * np.sin(field * law["turns"] * np.pi * 2)
    if law["fold"] == "step":
        return np.floor(field * law["turns"]) / law["turns"]
    return field


def cells_law(rng: Generator) -> Law:
    """Say how many cells, how regular, in which norm, and what of them is shown."""
    return {
        "side": int(rng.integers(2, 7)),
        "jitter": rng.choice([0.15, 0.5, 1.0]),
        "norm": int(rng.choice([1, 2, 8])),
        "squash": rng.uniform(0.4, 1.0),
        "show": str(rng.choice(["near", "wall", "tile", "ring"])),
    }


def cells_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Colour each pixel by its distance to the nearest seeds."""
    steps = np.arange(-1, law["side"] + 1)
    seeds = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) + 0.5
    seeds = seeds + rng.uniform(-0.5, 0.5, seeds.shape) * law["jitter"]
    x, y = turned(rng.normal(0, 0.25), rng.uniform(0.8, 1.3))
    across, down = seeds.astype(np.float32).T
    dx = np.abs((x * 0.5 + 0.5)[..., None] * law["side"] - across)
    dy = np.abs((y * law["squash"] * 0.5 + 0.5)[..., None] * law["side"] - down)
    power = law["norm"]
    far = np.maximum(dx, dy) if power == 8 else dx + dy if power == 1 else np.hypot(dx, dy)
    near = np.partition(far, 1, axis=-1)[..., :2]
    if law["show"] == "wall":
        return ramp(palette, np.minimum((near[..., 1] - near[..., 0]) * 2.5, 1))
    if law["show"] == "ring":
        return ramp(palette, 0.5 + 0.5 * np.cos(near[..., 0] * 14))
    if law["show"] == "near":
        return ramp(palette, 1.2 * near[..., 0])
    tile = ramp(palette, rng.random(len(seeds)))[far.argmin(-1)]
    return tile * (1.1 - 0.6 * near[..., :1])


def waves_law(rng: Generator) -> Law:
    """Say which wave along which coordinate, how fast, how warped."""
    return {
        "kind": str(rng.choice(["stripes", "checks", "rings", "spiral", "hexagons"])),
        "wave": str(rng.choice(["sine", "square", "saw"])),
        "rate": rng.uniform(2, 12),
        "arms": int(rng.integers(1, 7)),
        "angle": rng.uniform(0, np.pi),
        "warp": rng.choice([0.0, 0.08, 0.25]),
    }


def waves_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Return a periodic pattern under a smooth warp."""
    shift = tuple(rng.uniform(-0.4, 0.4, 2))
    x, y = turned(law["angle"] + rng.normal(0, 0.12), rng.uniform(0.8, 1.25), shift)
    if law["warp"]:
        x = x + law["warp"] * (unit(coloured_noise(rng, 2.2)) - 0.5) * 2
        y = y + law["warp"] * (unit(coloured_noise(rng, 2.2)) - 0.5) * 2
    return ramp(palette, _wave_field(law, x, y, rng.random()))


def _wave_field(law: Law, x: np.ndarray, y: np.ndarray, phase: float) -> np.ndarray:
    rate = law["rate"] / 2
    if law["kind"] == "checks":
        return _wave(law["wave"], x * rate + phase) * 0.5 + _wave(law["wave"], y * rate) * 0.5
    if law["kind"] == "hexagons":
        turns = [x, -0.5 * x + 0.866 * y, -0.5 * x - 0.866 * y]
        return sum(_wave(law["wave"], one * rate + phase) for one in turns) / 3
    if law["kind"] == "rings":
        return _wave(law["wave"], np.hypot(x, y) * rate + phase)
    if law["kind"] == "spiral":
        angle = np.arctan2(y, x) / (2 * np.pi)
        return _wave(law["wave"], np.hypot(x, y) * rate + law["arms"] * angle + phase)
    return _wave(law["wave"], x * rate + phase)


def _wave(kind: str, turns: np.ndarray) -> np.ndarray:
    if kind == "sine":
        return 0.5 + 0.5 * np.sin(2 * np.pi * turns)
    return turns % 1 if kind == "saw" else (turns % 1 < 0.5).astype(np.float32)


def rosette_law(rng: Generator) -> Law:
    """Return a superformula contour, its layers, heart and streaks."""
    symmetry = int(rng.integers(2, 19))
    angle = np.linspace(0, 2 * np.pi, 512, endpoint=False)
    first, second, third = rng.uniform(0.4, 6, 3)
    wave = np.abs(np.cos(symmetry * angle / 2)) ** second
    wave = wave + np.abs(np.sin(symmetry * angle / 2)) ** third
    radius = wave ** (-1 / first)
    radius = (radius - radius.min()) / (np.ptp(radius) + 1e-6)
    depth = rng.uniform(0.1, 0.9)
    return {
        "radius": (1 - depth + depth * radius).astype(np.float32),
        "layers": int(rng.integers(1, 4)),
        "shrink": rng.uniform(0.5, 0.85),
        "heart": rng.uniform(0.1, 0.5) if rng.random() < 0.7 else 0.0,
        "streaks": int(rng.integers(6, 40)) if rng.random() < 0.5 else 0,
        "shade": rng.uniform(-0.6, 0.6),
        "crowd": int(rng.choice([1, 1, 2, 4])),
    }


def rosette_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Return one rosette, or a few smaller ones, on a ground."""
    image = ground(palette, rng)
    count = law["crowd"] if law["crowd"] == 1 else int(rng.integers(2, law["crowd"] + 2))
    reach = 0.55 if count == 1 else 0.8
    for _ in range(count):
        size = rng.uniform(0.55, 1.1) / (1 if count == 1 else 1.6)
        shift = tuple(rng.uniform(-reach, reach, 2) * (0.5 if count == 1 else 1))
        image = _one_rosette(image, law, palette, rng, size, shift)
    return image


def _one_rosette(image, law: Law, palette, rng: Generator, size: float, shift) -> np.ndarray:
    x, y = turned(rng.uniform(0, 2 * np.pi), size, shift)
    y = y / rng.uniform(0.6, 1.0)
    radius, angle = np.hypot(x, y), np.arctan2(y, x) / (2 * np.pi)
    light = 1 + law["shade"] * (radius - 0.5)
    if law["streaks"]:
        light = light + 0.12 * np.cos(2 * np.pi * law["streaks"] * angle)
    edge = size * SIZE_PX / 2
    for layer in range(law["layers"]):
        turn = angle + layer * 0.5 / max(law["layers"], 2)
        rim = law["radius"][(turn * 512).astype(np.int32) % 512] * law["shrink"] ** layer
        colour = palette[layer % 2] * (light * (1 - 0.15 * layer))[..., None]
        image = over(image, colour, np.clip((rim - radius) * edge, 0, 1))
    if law["heart"]:
        grain = palette[2] * (0.8 + 0.3 * rng.random((SIZE_PX, SIZE_PX, 1), np.float32))
        image = over(image, grain, np.clip((law["heart"] - radius) * edge, 0, 1))
    return image


def glyph_law(rng: Generator) -> Law:
    """Control points of one to three strokes, centred and scaled to the unit square."""
    strokes = []
    count = int(rng.choice([1, 1, 2, 2, 3]))
    for _ in range(count):
        # A lone stroke of two points is a mere line: it needs a third to be a glyph.
        points = rng.uniform(-1, 1, (int(rng.integers(2 + (count == 1), 6)), 2)) * [0.75, 1.0]
        strokes.append((points, bool(len(points) > 2 and rng.random() < 0.35)))
    every = np.concatenate([points for points, _ in strokes])
    middle = (every.max(0) + every.min(0)) / 2
    reach = np.abs(every - middle).max()
    strokes = [((points - middle) / reach, closed) for points, closed in strokes]
    return {"strokes": strokes, "smooth": rng.random() < 0.75}


def glyph_image(law: Law, palette: np.ndarray, rng: Generator) -> np.ndarray:
    """Return the strokes, jittered, sheared and thickened, on a ground."""
    canvas = Image.new("L", (2 * SIZE_PX, 2 * SIZE_PX))
    pen = ImageDraw.Draw(canvas)
    matrix = (np.eye(2) + rng.normal(0, 0.1, (2, 2))) * rng.uniform(55, 92)
    centre = SIZE_PX + rng.uniform(-16, 16, 2)
    width = int(rng.uniform(5, 34))
    for points, closed in law["strokes"]:
        points = points + rng.normal(0, 0.05, points.shape)
        corners = np.vstack([points, points[: int(closed)]])
        path = _curve(points, closed) if law["smooth"] else corners
        place = (path @ matrix + centre).reshape(-1).tolist()
        pen.line(place, fill=255, width=width, joint="curve")
    ink = _coarse(canvas.reduce(2), rng)
    back = ground(palette, rng)
    colour = palette[0] + (palette[1] - palette[0]) * (0.5 + 0.5 * _Y[..., None]) * rng.random()
    return over(back, colour, ink)


def _curve(points: np.ndarray, closed: bool, steps: int = 10) -> np.ndarray:
    """Return a Catmull-Rom spline through the points."""
    ends = (points[-1:], points[:2]) if closed else (points[:1], points[-1:])
    padded = np.vstack([ends[0], points, ends[1]])
    t = np.linspace(0, 1, steps)[:, None, None]
    a, b, c, d = (padded[i : len(padded) - 3 + i] for i in range(4))
    path = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2)
    path = path + 0.5 * (3 * b - a - 3 * c + d) * t**3
    return path.transpose(1, 0, 2).reshape(-1, 2)


def _coarse(ink: Image.Image, rng: Generator) -> np.ndarray:
    """Half of the glyphs are seen through 8 to 24 pixels, as small scans and thumbnails are."""
    if rng.random() < 0.5:
        side = int(rng.integers(8, 25))
        resample = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST]
        ink = ink.resize((side, side), Image.Resampling.BOX)
        ink = ink.resize((SIZE_PX, SIZE_PX), resample[int(rng.integers(3))])
    return np.asarray(ink, np.float32) / 255


_LAWS: dict[str, Callable[[Generator], Law]] = {
    "ifs": ifs_law,
    "leaves": leaves_law,
    "spectrum": spectrum_law,
    "cells": cells_law,
    "waves": waves_law,
    "rosette": rosette_law,
    "glyph": glyph_law,
}
_IMAGES: dict[str, Callable[[Law, np.ndarray, Generator], np.ndarray]] = {
    "ifs": ifs_image,
    "leaves": leaves_image,
    "spectrum": spectrum_image,
    "cells": cells_image,
    "waves": waves_image,
    "rosette": rosette_image,
    "glyph": glyph_image,
}


# --- the bank -----------------------------------------------------------------------------------


def family_of(form: int) -> str:
    """Return the family of a form.

    Shares as in `FAMILIES`, dealt in turn so that any count is mixed.
    """
    cycle = [name for name, share in FAMILIES.items() for _ in range(share)]
    return cycle[form % len(cycle)]


def draw_form(form: int, seed: int) -> tuple[str, Law]:
    """Return the family and the law of one form."""
    family = family_of(form)
    return family, _LAWS[family](np.random.default_rng([seed, 2, form]))


def make_bank(images: int, classes: int, seed: int, start: int = 0) -> Bank:
    """Render a bank of labelled images.

    Args:
        images: how many.
        classes: how many forms; image `i` shows form `i % classes`.
        seed: Fixes forms, palettes and images.
        start: Number of the first image, so that parts made apart (training, validation, other
            processes) do not repeat each other.

    Returns:
        The `Bank`.
    """
    palettes = draw_palettes(seed)
    laws = [draw_form(form, seed) for form in range(classes)]
    out = np.empty((images, SIZE_PX, SIZE_PX, 3), np.uint8)
    forms = (np.arange(start, start + images) % classes).astype(np.int32)
    shown = np.empty(images, np.int32)
    for row, form in enumerate(forms):
        rng = np.random.default_rng([seed, 3, start + row])
        shown[row] = rng.integers(len(palettes))
        palette = np.clip(palettes[shown[row]] + rng.normal(0, 0.04, (4, 3)), 0, 1)
        family, law = laws[form]
        image = _IMAGES[family](law, palette.astype(np.float32), rng)
        image = image * rng.uniform(0.85, 1.1) + rng.normal(0, rng.uniform(0, 0.03), image.shape)
        out[row] = np.clip(image * 255, 0, 255)
    return Bank(out, forms, shown)
