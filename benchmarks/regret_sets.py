"""The image sets of `regret.py`, and what is drawn from them: a table of files for each run.

Half of them, `CHOOSING`, are there to choose by: thresholds, rates, plans, rules. The other half,
`REPORTING`, says how good what was chosen is, and nothing may be chosen by it. Both have photos
that are like those of ImageNet and pictures that are not, and no photo stands behind sets of both.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from altered_sets import write_crops, write_paintings, write_turned
from drawn_sets import DRAWN, write_drawn
from PIL import Image, ImageFilter, ImageOps
from sklearn.datasets import load_digits

from ktransfer.data import Part, Splits, joined, read_data
from ktransfer.profile.probes import even_sample

#: Those that the project's figures are asked of; every other set is one that nobody looked at.
LISTED = ("ants_bees", "flowers", "steel_defects", "chest_xray")
#: To choose by: photos (flowers), photos that are turned, painted or drawn, and what is none.
CHOOSING = (
    "flowers",
    "turned",
    "paintings",
    "edges",
    "steel_defects",
    "chirps",
    "sketches",
    "hands",
)
#: To report: photos (ants_bees), parts of photos, and what is none.
REPORTING = (
    "ants_bees",
    "crops",
    "chest_xray",
    "digits",
    "faces",
    "aerial",
    "textures",
)
MOST_TESTED = 300

#: Images of each class that are learned from, also of a rare one: `fit` holds one of them back.
LEAST_OF_CLASS = 3


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of which some are learned from and others are tested on.

    Attributes:
        name: of the folder.
        pool: what is drawn from.
        test: what is tested on, a part of its own; None: what was not drawn.
        class_names: a label is a position here.
    """

    name: str
    pool: Part
    test: Part | None
    class_names: tuple[str, ...]


def read_set(folder: Path) -> ImageSet:
    """Any class folder: `test/` or else `val/` is the test part, where there is one."""
    splits = read_data(folder)
    if splits.held_back and splits.test is None:
        pool, test = joined([splits.train, splits.validation]), None
    else:
        pool, test = _with_test(splits)
    return ImageSet(folder.name, pool, test, splits.class_names)


def _with_test(splits: Splits) -> tuple[Part, Part]:
    if splits.test is None:
        return splits.train, splits.validation
    return joined([splits.train, splits.validation]), splits.test


def sizes_of(images: ImageSet, asked: Sequence[int | None]) -> Iterator[tuple[str, int]]:
    """Yield each number that is asked for, and how many images that is.

    No number comes twice, and none that is too small for the number of classes.

    Args:
        images: the set.
        asked: numbers of images; None is all of them.
    """
    kept_for_test = 0 if images.test is not None else min(MOST_TESTED, len(images.pool) // 3)
    there, seen = len(images.pool) - kept_for_test, set()
    least = LEAST_OF_CLASS * len(images.class_names)
    for number in asked:
        drawn = there if number is None else min(number, there)
        if drawn not in seen and drawn >= least:
            yield ("all" if number is None else str(number)), drawn
        seen.add(drawn)


def draw(images: ImageSet, number: int, seed: int, table: Path) -> Path:
    """Write a table of the images to learn from and of at most `MOST_TESTED` others.

    Both have the classes in the proportions of the set, but for `LEAST_OF_CLASS`.

    Args:
        images: the set.
        number: of images to learn from; `fit` will hold some of them back to validate on.
        seed: of the drawing.
        table: a CSV file to write.
    """
    learned = _sample(images.pool, np.arange(len(images.pool)), number, seed, LEAST_OF_CLASS)
    if images.test is None:
        others = np.setdiff1d(np.arange(len(images.pool)), learned)
        tested = images.pool.select(_sample(images.pool, others, MOST_TESTED, seed))
    else:
        every = np.arange(len(images.test))
        tested = images.test.select(_sample(images.test, every, MOST_TESTED, seed))
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        for split, part in (("train", images.pool.select(learned)), ("test", tested)):
            for row, label in enumerate(part.labels):
                path = Path(part.images.name(row)).resolve()
                writer.writerow((path, images.class_names[label], split))
    return table


def _sample(part: Part, rows: np.ndarray, number: int, seed: int, least: int = 0) -> np.ndarray:
    shuffled = np.random.default_rng(seed).permutation(rows)
    labels = part.labels[shuffled]
    chosen = even_sample(labels, number)
    of_class = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    # In the order in which they were shuffled, so that the seed decides here, too.
    missing = [
        np.setdiff1d(each, chosen)[: max(0, least - np.isin(each, chosen).sum())]
        for each in of_class
    ]
    return np.sort(shuffled[np.concatenate([chosen, *missing])])


def write_digits(folder: Path, count: int = 1_797) -> Path:
    """Return the handwritten digits of scikit-learn, 8 x 8 pixels, drawn at 64 x 64, by class."""
    digits = load_digits()
    for row in range(count):
        place = folder / str(digits.target[row])
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((digits.images[row] * 15).astype(np.uint8))
        picture.resize((64, 64)).save(place / f"{row:04}.png")
    return folder


def write_edges(photos: Path, folder: Path) -> Path:
    """Photos as drawings of their edges, black on white, with the same parts and classes."""
    for path in sorted(photos.glob("*/*/*")):
        place = folder / path.relative_to(photos).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as photo:
            edges = photo.convert("L").filter(ImageFilter.FIND_EDGES)
        ImageOps.invert(edges).save(place, compress_level=1)
    return folder


def half_of(name: str) -> str:
    """Say which half a set is in: `"choosing"`, `"reporting"`, or `"other"`."""
    if name in CHOOSING:
        return "choosing"
    return "reporting" if name in REPORTING else "other"


def write_set(name: str, shared: Path, scratch: Path) -> Path:
    """Return the folder of a set of `CHOOSING` or `REPORTING`: shared, or made anew in `scratch`.

    Args:
        name: of the set.
        shared: `KTRANSFER_SHARED`; of a set that needs no photos of it, it need not exist.
        scratch: where a folder of that name is made, unless it is there.
    """
    folder = scratch / name
    if name in LISTED:
        return shared / "data" / name
    if folder.is_dir():
        return folder
    if name in DRAWN:
        return write_drawn(name, folder)
    flowers = shared / "data/flowers"
    makers: dict[str, Callable[[], Path]] = {
        "digits": lambda: write_digits(folder),
        "edges": lambda: write_edges(flowers, folder),
        "paintings": lambda: write_paintings(flowers, folder),
        "turned": lambda: write_turned(flowers, folder),
        "crops": lambda: write_crops(folder),
    }
    return makers[name]()
