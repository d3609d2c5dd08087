"""What the drawers of `drawn_sets.py` share: pictures of numbers, grain, clouds, colours, boxes."""

from __future__ import annotations

import numpy as np
from formula_images import coloured_noise
from numpy.random import Generator
from PIL import Image, ImageFilter
from scipy.ndimage import zoom

SIZE_PX = 128
#: Drawn are pictures of twice the size: Pillow's edges are not smooth.
FINE_PX = 2 * SIZE_PX


def picture_of(shares: np.ndarray) -> Image.Image:
    """Return `(height, width)` or `(height, width, 3)` in [0, 1] as an RGB picture."""
    return Image.fromarray((np.clip(shares, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def grainy(picture: Image.Image, random: Generator, most: float = 0.08) -> Image.Image:
    """Return a picture with blur, grain and another light."""
    picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2)))
    values = np.asarray(picture, float) / 255
    values = values * random.uniform(0.7, 1.15) + random.normal(0, random.uniform(0, most), 3)
    return picture_of(values + random.normal(0, random.uniform(0, most), values.shape))


def cloud(random: Generator, rough: float, px: int = SIZE_PX) -> np.ndarray:
    """Return smooth noise in [0, 1], `(px, px)`."""
    field = coloured_noise(random, rough)
    field = zoom(field, px / len(field), order=1)
    return (field - field.min()) / (np.ptp(field) + 1e-9)


def colour(random: Generator) -> tuple[int, ...]:
    """Return any colour that is neither black nor white."""
    return tuple(int(each) for each in random.integers(20, 236, 3))


def box(centre: np.ndarray, across: float, down: float) -> tuple[float, ...]:
    """Return the bounds of an ellipse or rectangle, `across` and `down` from its centre."""
    x, y = (float(each) for each in centre)
    return (x - across, y - down, x + across, y + down)
