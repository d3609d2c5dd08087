"""Image sets drawn by formula, for `regret_sets.py`: no photo, no download, the same every time.

    python benchmarks/drawn_sets.py FOLDER      # writes them all, to look at

Each is far from ImageNet in its own way. What does not tell the classes apart (colours, place,
size, noise) is drawn anew for each picture, so that a head on frozen features gets 50 to 90 % of
them right after 300.

- ``chirps``: ten kinds of sweeps in noise, as spectrograms.
- ``sketches``: ten things in a few shaky strokes, some of which are missing.
- ``faces``: flat cartoons of six moods.
- ``hands``: silhouettes of eight hand signs.
- ``aerial``: eight kinds of land seen from above.
- ``textures``: twelve laws of the families spectrum, cells and waves of `formula_images.py`.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drawn_patterns import LANDS, LAWS, SWEEPS, draw_chirp, draw_land, draw_texture
from drawn_things import MOODS, SIGNS, THINGS, draw_face, draw_hand, draw_sketch
from numpy.random import Generator
from PIL import Image


@dataclass(frozen=True)
class DrawnSet:
    """A set by formula.

    Attributes:
        classes: names of the classes.
        draw: draws a picture of a class, 128 pixels wide and high.
    """

    classes: tuple[str, ...]
    draw: Callable[[str, Generator], Image.Image]


def write_drawn(name: str, folder: Path, count: int = 900) -> Path:
    """Draw a set of `DRAWN` by class, each class as often."""
    drawn = DRAWN[name]
    for row in range(count):
        kind = drawn.classes[row % len(drawn.classes)]
        random = np.random.default_rng([zlib.crc32(name.encode()), row])
        place = folder / kind
        place.mkdir(parents=True, exist_ok=True)
        drawn.draw(kind, random).save(place / f"{row:04}.png", compress_level=1)
    return folder


DRAWN = {
    "chirps": DrawnSet(tuple(SWEEPS), draw_chirp),
    "sketches": DrawnSet(tuple(THINGS), draw_sketch),
    "faces": DrawnSet(tuple(MOODS), draw_face),
    "hands": DrawnSet(tuple(SIGNS), draw_hand),
    "aerial": DrawnSet(LANDS, draw_land),
    "textures": DrawnSet(tuple(LAWS), draw_texture),
}


def main() -> None:
    """Write every set, to look at."""
    for name in DRAWN:
        print(write_drawn(name, Path(sys.argv[1]) / name))


if __name__ == "__main__":
    main()
