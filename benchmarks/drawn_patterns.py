"""Chirps as spectrograms, land from above and textures, for `drawn_sets.py`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from drawing import FINE_PX, SIZE_PX, box, cloud, colour, grainy, picture_of
from formula_images import (
    cells_image,
    draw_form,
    draw_palettes,
    family_of,
    spectrum_image,
    waves_image,
)
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy.signal import spectrogram

# --- chirps -------------------------------------------------------------------------------------

#: How high the tone is, as a share of what it sweeps over, by the share of its time.
SWEEPS: dict[str, Callable[[np.ndarray, Generator], np.ndarray]] = {
    "rising": lambda t, _: t,
    "falling": lambda t, _: 1 - t,
    "late_rise": lambda t, _: t**4,
    "early_fall": lambda t, _: (1 - t) ** 4,
    "hump": lambda t, _: 1 - (2 * t - 1) ** 2,
    "valley": lambda t, _: (2 * t - 1) ** 2,
    "slow_warble": lambda t, r: 0.5 + 0.4 * np.sin(2 * np.pi * (2 * t + r.random())),
    "fast_warble": lambda t, r: 0.5 + 0.4 * np.sin(2 * np.pi * (4 * t + r.random())),
    "stairs_up": lambda t, _: np.floor(t * 4) / 3.0,
    "stairs_down": lambda t, _: 1 - np.floor(t * 4) / 3.0,
}
_RATE, _SAMPLES = 8_000, 16_000


def _tone(kind: str, random: Generator, loud: float) -> np.ndarray:
    """Return one sweep somewhere in two seconds of silence."""
    length = int(_SAMPLES * random.uniform(0.35, 0.85))
    start = int(random.integers(0, _SAMPLES - length + 1))
    share = np.linspace(0, 1, length, endpoint=False)
    low, span = random.uniform(300, 1_400), random.uniform(700, 2_000)
    pitch = low + span * np.clip(SWEEPS[kind](share, random), 0, 1)
    phase = 2 * np.pi * np.cumsum(pitch) / _RATE
    tone = np.sin(phase) + random.uniform(0, 0.5) * np.sin(2 * phase)
    wave = np.zeros(_SAMPLES)
    wave[start : start + length] = loud * np.hanning(length) ** 0.3 * tone
    return wave


def draw_chirp(kind: str, random: Generator) -> Image.Image:
    """Draw a sweep in noise, with clicks and hums, as a spectrogram."""
    wave = _tone(kind, random, loud=random.uniform(0.5, 2.0))
    wave += np.convolve(random.normal(0, 1, _SAMPLES), [1, random.uniform(-0.6, 0.8)], "same")
    for at in random.integers(0, _SAMPLES - 200, random.integers(0, 3)):
        wave[at : at + 200] += random.normal(0, 3, 200)
    hum = random.uniform(100, 3_500, random.integers(0, 2))
    wave += sum(0.2 * np.sin(2 * np.pi * each * np.arange(_SAMPLES) / _RATE) for each in hum)
    power = spectrogram(wave, _RATE, nperseg=256, noverlap=136)[2]
    loud = np.log(power[::-1] + 1e-6)
    low, high = np.percentile(loud, (5, 99.7))
    shares = np.clip((loud - low) / (high - low), 0, 1)
    # From dark blue over red to pale yellow, as such pictures mostly are.
    colours = [np.interp(shares, (0, 0.35, 0.7, 1), row) for row in _HEAT]
    return picture_of(np.stack(colours, -1)).resize((SIZE_PX, SIZE_PX), Image.Resampling.BILINEAR)


_HEAT = ((0.0, 0.45, 0.95, 1.0), (0.0, 0.05, 0.45, 1.0), (0.1, 0.45, 0.1, 0.75))


# --- aerial -------------------------------------------------------------------------------------

LANDS = ("fields", "orchard", "forest", "village", "town", "motorway", "river", "car_park")


def draw_land(kind: str, random: Generator) -> Image.Image:
    """Draw a kind of land from above, turned any way."""
    ground = _ground(random)
    picture = ground.copy()
    pen = ImageDraw.Draw(picture)
    _LAND[kind](picture, pen, random)
    turned = picture.rotate(random.uniform(0, 360), Image.Resampling.BILINEAR)
    edge = int(FINE_PX * 0.15)  # the largest square that a turned one holds
    inner = turned.crop((edge, edge, FINE_PX - edge, FINE_PX - edge))
    return grainy(inner.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX), random, most=0.2)


def _ground(random: Generator) -> Image.Image:
    earth = np.array([[0.3, 0.42, 0.22], [0.5, 0.45, 0.32], [0.42, 0.4, 0.36]])
    base = random.dirichlet(np.ones(3)) @ earth
    patches = cloud(random, random.uniform(1.0, 2.0), FINE_PX)[..., None] - 0.5
    return picture_of(base + 0.25 * patches)


def _tint(random: Generator, base: tuple[int, int, int], spread: float = 18) -> tuple[int, ...]:
    return tuple(int(each) for each in np.clip(random.normal(base, spread), 0, 255))


def _fields(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    side = random.uniform(45, 110)
    for x in np.arange(0, FINE_PX, side):
        for y in np.arange(0, FINE_PX, side * random.uniform(0.5, 1.2)):
            tint = _tint(random, (120, 135, 75), 30)
            pen.rectangle((x, y, x + side, y + side), fill=tint)
            for row in np.arange(y, y + side, random.uniform(5, 12)):
                pen.line((x, row, x + side, row), fill=_tint(random, tint, 8), width=2)


def _orchard(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    step, radius = random.uniform(16, 30), random.uniform(4, 9)
    for x in np.arange(0, FINE_PX, step):
        for y in np.arange(0, FINE_PX, step * random.uniform(0.9, 1.1)):
            place = np.array([x, y]) + random.normal(0, step / 9, 2)
            pen.ellipse(box(place, radius, radius), fill=_tint(random, (45, 85, 40)))


def _forest(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    radius = random.uniform(4, 10)
    for place in random.uniform(0, FINE_PX, (int(random.integers(250, 900)), 2)):
        size = radius * random.uniform(0.6, 1.4)
        pen.ellipse(box(place, size, size), fill=_tint(random, (50, 85, 45)))


def _roofs(pen: ImageDraw.ImageDraw, random: Generator, step: float, share: float) -> None:
    for x in np.arange(0, FINE_PX, step):
        for y in np.arange(0, FINE_PX, step):
            if random.random() < share:
                across, down = random.uniform(0.25, 0.42, 2) * step
                place = np.array([x, y]) + random.normal(0, step / 8, 2)
                pen.rectangle(box(place, across, down), fill=_tint(random, (150, 110, 95), 35))


def _village(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    _road(pen, random, random.uniform(8, 14), bend=random.uniform(0, 40))
    _roofs(pen, random, random.uniform(34, 48), share=random.uniform(0.35, 0.7))
    for place in random.uniform(0, FINE_PX, (int(random.integers(10, 60)), 2)):
        pen.ellipse(box(place, 6, 6), fill=_tint(random, (50, 85, 45)))


def _town(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    pen.rectangle((0, 0, FINE_PX, FINE_PX), fill=_tint(random, (115, 112, 110)))
    _roofs(pen, random, random.uniform(24, 38), share=random.uniform(0.8, 1.0))


def _road(pen: ImageDraw.ImageDraw, random: Generator, width: float, bend: float) -> None:
    x = np.linspace(0, FINE_PX, 20)
    y = FINE_PX * random.uniform(0.3, 0.7) + bend * np.sin(x / random.uniform(30, 80))
    line = np.stack([x, y], -1).ravel().tolist()
    pen.line(line, fill=_tint(random, (120, 118, 116)), width=int(width), joint="curve")


def _motorway(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    for _ in range(random.integers(1, 3)):
        _road(pen, random, random.uniform(16, 34), bend=random.uniform(0, 25))
    for place in random.uniform(0, FINE_PX, (int(random.integers(0, 50)), 2)):
        pen.ellipse(box(place, 6, 6), fill=_tint(random, (50, 85, 45)))


def _river(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    x = np.linspace(0, FINE_PX, 30)
    y = FINE_PX * random.uniform(0.35, 0.65) + random.uniform(15, 45) * np.sin(
        x / random.uniform(25, 60)
    )
    water = _tint(random, (95, 112, 112), 22)
    line = np.stack([x, y], -1).ravel().tolist()
    pen.line(line, fill=water, width=int(random.uniform(16, 44)), joint="curve")


def _car_park(picture: Image.Image, pen: ImageDraw.ImageDraw, random: Generator) -> None:
    pen.rectangle((0, 0, FINE_PX, FINE_PX), fill=_tint(random, (118, 116, 114)))
    step = random.uniform(16, 26)
    for x in np.arange(0, FINE_PX, step):
        for y in np.arange(0, FINE_PX, 1.8 * step):
            if random.random() < 0.6:
                pen.rectangle(box(np.array([x, y]), step / 4, step / 2), fill=colour(random))


_LAND = dict(
    zip(
        LANDS,
        (_fields, _orchard, _forest, _village, _town, _motorway, _river, _car_park),
        strict=True,
    )
)


# --- textures -----------------------------------------------------------------------------------

_RENDER = {"spectrum": spectrum_image, "cells": cells_image, "waves": waves_image}
#: The first laws of these families in the bank of seed 17.
_LAW_SEED = 17
_FORMS = [each for each in range(200) if family_of(each) in _RENDER][:12]
LAWS = {f"law_{each:03}": draw_form(each, _LAW_SEED) for each in _FORMS}
_PALETTES = draw_palettes(_LAW_SEED)


def draw_texture(kind: str, random: Generator) -> Image.Image:
    """Draw a texture in colours of chance, a part of it, grainy."""
    family, law = LAWS[kind]
    palette = _PALETTES[random.integers(len(_PALETTES))]
    picture = picture_of(_RENDER[family](law, palette, random))
    side = int(random.uniform(0.45, 1.0) * picture.width)
    left, top = random.integers(0, picture.width - side + 1, 2)
    part = picture.crop((left, top, left + side, top + side))
    return grainy(part.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC), random, most=0.15)
