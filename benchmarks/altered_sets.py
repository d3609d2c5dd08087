"""Image sets made of photos, for `regret_sets.py`: as paintings, turned, and small parts of two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sklearn.datasets import load_sample_images

SIZE_PX = 128
#: Of a turned photo: a mirrored quarter is one to the other side, so both are one class.
_TURNS = {"upright": (0,), "quarter": (90, 270), "upside_down": (180,)}
_PARTS = (2, 3)


def _photos(folder: Path, count: int) -> Iterator[tuple[str, Path]]:
    """Yield the first photos of each class of a folder of parts, about `count` in all."""
    by_class: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*/*")):
        by_class.setdefault(path.parent.name, []).append(path)
    for name, paths in by_class.items():
        for path in paths[: count // len(by_class)]:
            yield name, path


def _save(picture: Image.Image, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place, compress_level=1)


def write_paintings(photos: Path, folder: Path, count: int = 900) -> Path:
    """Photos as paintings: patches of few colours, of another hue, on a rough canvas."""
    for row, (name, path) in enumerate(_photos(photos, count)):
        random = np.random.default_rng([1, row])
        with Image.open(path) as photo:
            small = ImageOps.fit(photo.convert("RGB"), (SIZE_PX, SIZE_PX))
        _save(_painted(small, random), folder / name / f"{row:04}.png")
    return folder


def _painted(picture: Image.Image, random: Generator) -> Image.Image:
    strokes = picture.filter(ImageFilter.ModeFilter(int(random.choice([5, 7, 9]))))
    strokes = ImageOps.posterize(strokes, int(random.choice([2, 3, 3])))
    hue, *others = strokes.convert("HSV").split()
    by = int(random.integers(256))
    turned = hue.point([(value + by) % 256 for value in range(256)])
    painted = Image.merge("HSV", (turned, *others)).convert("RGB")
    canvas = random.normal(0, 14, (SIZE_PX, SIZE_PX, 1))
    return Image.fromarray(np.clip(np.asarray(painted) + canvas, 0, 255).astype(np.uint8))


def write_turned(photos: Path, folder: Path, count: int = 900) -> Path:
    """Photos, upright, lying or upside down: what they show says nothing, only how it stands."""
    names = tuple(_TURNS)
    for row, (_, path) in enumerate(_photos(photos, count)):
        random, name = np.random.default_rng([2, row]), names[row % len(names)]
        with Image.open(path) as photo:
            small = ImageOps.fit(photo.convert("RGB"), (SIZE_PX, SIZE_PX))
        _save(small.rotate(random.choice(_TURNS[name])), folder / name / f"{row:04}.png")
    return folder


def write_crops(folder: Path, count: int = 900) -> Path:
    """Small parts of scikit-learn's two photos, of a temple and of a flower.

    A class is a sixth of a photo. The parts are turned, in other colours, light and sharpness.
    """
    photos = [Image.fromarray(each) for each in load_sample_images().images]
    rows, columns = _PARTS
    for number in range(count):
        random = np.random.default_rng([3, number])
        of_photo, row, column = np.unravel_index(number % (2 * rows * columns), (2, rows, columns))
        part = _part(photos[of_photo], int(row), int(column), random)
        name = f"{('temple', 'flower')[of_photo]}_{row}_{column}"
        _save(part, folder / name / f"{number:04}.png")
    return folder


def _part(photo: Image.Image, row: int, column: int, random: Generator) -> Image.Image:
    tall, wide = photo.height / _PARTS[0], photo.width / _PARTS[1]
    side = random.uniform(90, 140)
    x = column * wide + random.uniform(side / 2, wide - side / 2)
    y = row * tall + random.uniform(side / 2, tall - side / 2)
    box = (int(x - side / 2), int(y - side / 2), int(x + side / 2), int(y + side / 2))
    part = photo.crop(box).resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    part = part.rotate(random.normal(0, 20), Image.Resampling.BICUBIC)
    part = part.filter(ImageFilter.GaussianBlur(random.uniform(0, 2)))
    for change in (ImageEnhance.Color, ImageEnhance.Brightness, ImageEnhance.Contrast):
        part = change(part).enhance(random.uniform(0.3, 1.5))
    grain = random.normal(0, random.uniform(0, 15), (SIZE_PX, SIZE_PX, 3))
    return Image.fromarray(np.clip(np.asarray(part) + grain, 0, 255).astype(np.uint8))
