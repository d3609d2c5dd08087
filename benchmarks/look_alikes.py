"""Sets in which every image looks like many others, drawn by seed, and true copies to hide in them.

Of spectrograms all have the same axes and colours, of line drawings the same white, tiles come from
one surface and slices from one volume: what nobody would call copies, and what a coarse look at
them takes for such.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance
from scipy.ndimage import gaussian_filter

SIDE_PX = 240

#: Dark violet over green to yellow, as such pictures usually are.
_COLOURS = np.array(
    [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float32
)


def spectrograms(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Short-time spectra of tones and chirps with overtones, each under the same axes."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield _framed(_spectrum(_sound(random)))


def _sound(random: np.random.Generator, length: int = 24_000) -> np.ndarray:
    time_s = np.arange(length) / 8_000
    sound = random.normal(0, 0.02, length)
    for _ in range(random.integers(1, 4)):
        begin, slope = random.uniform(150, 1_200), random.uniform(-200, 300)
        start, duration = random.uniform(0, 1.8), random.uniform(0.4, 1.5)
        inside = (time_s > start) & (time_s < start + duration)
        phase = 2 * np.pi * (begin * time_s + slope * time_s**2 / 2)
        for overtone in range(1, 4):
            sound += inside * np.sin(overtone * phase) / overtone
    return sound


def _spectrum(sound: np.ndarray) -> np.ndarray:
    width, step = 256, 128
    starts = range(0, len(sound) - width, step)
    frames = np.stack([sound[at : at + width] for at in starts]) * np.hanning(width)
    level = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)) + 1e-3)
    return np.clip((level.T[::-1] + 40) / 80, 0, 1)


def _framed(values: np.ndarray) -> Image.Image:
    place = values * (len(_COLOURS) - 1)
    low = np.minimum(place.astype(int), len(_COLOURS) - 2)
    share = (place - low)[..., np.newaxis]
    coloured = _COLOURS[low] * (1 - share) + _COLOURS[low + 1] * share
    plot = Image.fromarray(coloured.astype(np.uint8)).resize((SIDE_PX - 50, SIDE_PX - 50))
    page = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    page.paste(plot, (38, 12))
    draw = ImageDraw.Draw(page)
    for tick in range(5):
        at = 12 + tick * (SIDE_PX - 50) // 4
        draw.line((32, at, 38, at), "black")
        draw.text((4, at - 6), str(4_000 - 1_000 * tick), "black")
        draw.line((at + 26, SIDE_PX - 38, at + 26, SIDE_PX - 32), "black")
        draw.text((at + 20, SIDE_PX - 28), f"{tick * 0.75:.1f}", "black")
    return page


def line_drawings(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Houses, faces, zigzags and fish by a shaky hand: thin black strokes on white."""
    random = np.random.default_rng(seed)
    for at in range(count):
        page = Image.new("L", (SIDE_PX, SIDE_PX), "white")
        draw = ImageDraw.Draw(page)
        for stroke in _STROKES[at % len(_STROKES)]:
            points = np.array(stroke, float) + random.normal(0, 0.02, (len(stroke), 2))
            places = (0.5 + (points - 0.5) * random.normal(0.9, 0.05)) * SIDE_PX
            draw.line([tuple(each) for each in places.tolist()], "black", 2, "curve")
        yield page.convert("RGB")


def _circle(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(0, 2 * np.pi, 20)
    return [(x + radius * np.cos(each), y + radius * np.sin(each)) for each in angles]


_STROKES = (
    [
        [(0.15, 0.9), (0.15, 0.45), (0.85, 0.45), (0.85, 0.9), (0.15, 0.9)],
        [(0.1, 0.45), (0.5, 0.1), (0.9, 0.45)],
        [(0.45, 0.9), (0.45, 0.65), (0.6, 0.65), (0.6, 0.9)],
    ],
    [
        _circle(0.5, 0.5, 0.4),
        _circle(0.35, 0.4, 0.05),
        _circle(0.65, 0.4, 0.05),
        [(0.3, 0.65), (0.4, 0.73), (0.5, 0.75), (0.6, 0.73), (0.7, 0.65)],
    ],
    [[(0.05 + at * 0.1, 0.3 + 0.4 * (at % 2)) for at in range(10)]],
    [_circle(0.5, 0.5, 0.35)],
    [
        [(0.1, 0.5), (0.3, 0.3), (0.6, 0.3), (0.75, 0.5), (0.6, 0.7), (0.3, 0.7), (0.1, 0.5)],
        [(0.75, 0.5), (0.92, 0.33), (0.92, 0.67), (0.75, 0.5)],
    ],
)


def tiles(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Cut side by side out of one woven surface, which varies slowly from place to place."""
    random = np.random.default_rng(seed)
    across = int(np.ceil(np.sqrt(count)))
    side = across * SIDE_PX
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bend = gaussian_filter(random.normal(0, 1, (side // 8, side // 8)), 12) * 60
    bend = np.asarray(Image.fromarray(bend.astype(np.float32)).resize((side, side)))
    weave = np.sin(2 * np.pi * (x + bend) / 40) + np.sin(2 * np.pi * (y - bend) / 40)
    surface = 128 + 30 * weave + 10 * gaussian_filter(random.normal(0, 4, (side, side)), 2)
    surface = np.clip(surface, 0, 255).astype(np.uint8)
    for at in range(count):
        top, left = at // across * SIDE_PX, at % across * SIDE_PX
        tile = surface[top : top + SIDE_PX, left : left + SIDE_PX]
        yield Image.fromarray(tile).convert("RGB")


def slices(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Neighbouring slices through heads: a skull, soft tissue that changes slowly from one to next.

    Twenty slices a head.
    """
    random = np.random.default_rng(seed)
    for _ in range(-(-count // 20)):
        volume = gaussian_filter(random.normal(0, 1, (20, SIDE_PX, SIDE_PX)), (2.5, 5, 5))
        volume /= volume.std()
        turn, width = random.uniform(-0.2, 0.2), random.uniform(0.3, 0.36)
        for depth in range(20):
            yield _slice(volume[depth], depth, turn, width, random)


def _slice(
    tissue: np.ndarray, depth: int, turn: float, width: float, random: np.random.Generator
) -> Image.Image:
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX] / SIDE_PX - 0.5
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    size = np.sqrt(1 - ((depth - 10) / 16) ** 2)
    away = np.hypot(x / (width * size), y / (0.44 * size))
    grey = np.where(away < 0.92, 90 + 25 * tissue, np.where(away < 1, 220, 8))
    noisy = grey + random.normal(0, 4, grey.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).convert("RGB")


LOOK_ALIKES: dict[str, Callable[[int, int], Iterator[Image.Image]]] = {
    "spectrograms": spectrograms,
    "line drawings": line_drawings,
    "tiles of one surface": tiles,
    "slices of volumes": slices,
}


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    """Return the image encoded."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 33, height // 33, width * 32 // 33, height * 32 // 33))


#: What is done to an image so that it is a copy of another content.
CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "resized": lambda image: jpeg(image.resize((image.width // 2, image.height // 2))),
    "encoded": lambda image: jpeg(image, 40),
    "brightened": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.2)),
    "cropped": lambda image: jpeg(_cropped(image)),
}


def write_with_copies(
    images: list[Image.Image], root: Path, copies: int, seed: int = 0
) -> list[tuple[str, str, str]]:
    """Write images into train/ and val/ of two classes, and copies of some beside them.

    Returns:
        Of each copy how it was changed, the original's path and its own, all in one class of train.
    """
    homes = [root / part / name for part in ("train", "val") for name in ("one", "two")]
    for home in homes:
        home.mkdir(parents=True)
    paths = [homes[at % 4] / f"{at}.png" for at in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    planted = []
    chosen = np.random.default_rng(seed).permutation(len(images))[: copies * len(CHANGES)]
    for at, number in enumerate(chosen.tolist()):
        change = list(CHANGES)[at % len(CHANGES)]
        copy = paths[number].with_name(f"{number}-copy.jpg")
        copy.write_bytes(CHANGES[change](images[number].convert("RGB")))
        planted.append((change, str(paths[number]), str(copy)))
    return planted
