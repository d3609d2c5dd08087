"""Choosing images of every class, making their views, and having them drawn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.augment.mixing import mix
from ktransfer.augment.page import Block, Cell, Page, check_target, write_page
from ktransfer.augment.policies import AUGMENTATIONS, policy_of
from ktransfer.augment.views import augment, source_size, view_seed
from ktransfer.data import (
    Part,
    Skipped,
    Splits,
    explain_failures,
    image_dataset,
    read_data,
)
from ktransfer.data.images.value_range import ValueRange
from ktransfer.errors import InputError
from ktransfer.show.results import Printed, Row, left_out

if TYPE_CHECKING:
    import tensorflow as tf

#: Images of a page about one policy, and for each policy of a page about all.
ROWS, ROWS_OF_EACH = 6, 2
#: Views of an image; where batches are mixed, the last two are of mixed batches.
VIEWS, MIXED = 6, 2


@dataclass(frozen=True)
class Look(Printed):
    """What is on a page.

    Attributes:
        path: of the page.
        width: of the page in pixels.
        height: of the page in pixels.
        images: the path and the class of every image, from above.
        augmentations: the policies, from above.
        num_images: images of the training part.
        classes: names of all classes.
        skipped: files that were left out, with their reasons.
        notes: how the data was read, where that is not plain.
    """

    path: str
    width: int
    height: int
    images: tuple[tuple[str, str], ...]
    augmentations: tuple[str, ...]
    num_images: int
    classes: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        images = [{"path": path, "label": label} for path, label in self.images]
        return {**asdict(self), "images": images}

    def printed(self) -> Iterator[Row]:
        """Say where the page lies and what is on it."""
        yield Row("Page", (f"{self.path}, {self.width:,} x {self.height:,} pixels",))
        yield Row("Policies", (", ".join(self.augmentations),))
        yield Row("Images", (f"{len(self.images)} of {self.num_images:,}:",))
        yield Row("", tuple(f"{label}: {path}" for path, label in self.images), bullet=True)
        yield from left_out(self.skipped)
        yield Row("Notes", self.notes, bullet=True)


def look(
    data: Any,
    path: str | os.PathLike[str],
    *,
    augmentation: str | None = None,
    input_size: tuple[int, int] = (224, 224),
    validation_fraction: float = 0.2,
    seed: int = 0,
    overwrite: bool = False,
    value_range: str | ValueRange | None = "auto",
    class_names: Sequence[str] | None = None,
) -> Look:
    """Draw a page of training images before and after augmentation, as a PNG file.

    A row for an image: the file as it is, what the network sees of it, and views of it. They are
    the very views of a training with that seed and input size: of its first epochs. The mixed
    batches are examples, made of the rows of the page.

    Args:
        data: as `FineTuner.fit` takes it.
        path: where to write the page; it must end in `.png`.
        augmentation: a name of `AUGMENTATIONS`; None: a few rows for each.
        input_size: `(height, width)` of the backbone's input in pixels.
        validation_fraction: as in `fit`.
        seed: of the images that are chosen, and of the views.
        overwrite: replace a file that is there; never one of the images.
        value_range: as in `fit`.
        class_names: as in `fit`.

    Returns:
        What is on the page.

    Raises:
        InputError: the data cannot be used, the policy is unknown, no image can be decoded, or
            the page exists or cannot be written.
    """
    target = check_target(path, data, overwrite=overwrite)
    names = tuple(each for each in AUGMENTATIONS if each != "none")
    if augmentation is not None:
        policy_of(augmentation)
        names = (augmentation,)
    splits = read_data(
        data,
        validation_fraction=validation_fraction,
        seed=seed,
        value_range=value_range,
        class_names=class_names,
    )
    chosen, failed = _chosen(splits.train, ROWS if augmentation else ROWS_OF_EACH, input_size, seed)
    blocks = tuple(_block(name, splits, chosen, input_size, seed) for name in names)
    page = Page(_title(data), _subtitle(splits, input_size, seed), blocks)
    width, height = write_page(page, target, overwrite=overwrite)
    names_of, labels = splits.train.images.name, splits.train.labels
    return Look(
        path=target,
        width=width,
        height=height,
        images=tuple((names_of(row), splits.class_names[labels[row]]) for row in chosen),
        augmentations=names,
        num_images=len(splits.train),
        classes=splits.class_names,
        skipped=(*splits.skipped, *failed),
        notes=splits.notes,
    )


def _chosen(
    part: Part, number: int, input_size: tuple[int, int], seed: int
) -> tuple[list[int], tuple[Skipped, ...]]:
    """Positions of images that can be decoded, class after class, and those that cannot."""
    found: list[int] = []
    bad: list[int] = []
    order = _class_by_class(part.labels, seed)
    for start in range(0, len(order), number):
        tried = order[start : start + number]
        batches = image_dataset(part.select(tried), input_size)
        good = {int(at) for _, indices in batches for at in indices.numpy()}
        found += [int(row) for at, row in enumerate(tried) if at in good]
        bad += [int(row) for at, row in enumerate(tried) if at not in good]
        if len(found) >= number:
            break
    failed = explain_failures(part, bad)
    if not found:
        raise InputError(
            f"none of the {len(order)} training images can be decoded; for example "
            f"{failed[0].path!r}: {failed[0].reason}"
        )
    return found[:number], failed


def _class_by_class(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return all rows: one of each class, then another of each, by chance."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(labels))
    turn = np.zeros(len(labels), int)
    for label in np.unique(labels):
        of_class = shuffled[labels[shuffled] == label]
        turn[of_class] = np.arange(len(of_class))
    return np.lexsort((labels, turn))


def _block(
    name: str, splits: Splits, rows: list[int], input_size: tuple[int, int], seed: int
) -> Block:
    """Return the rows of one policy."""
    part, policy = splits.train, policy_of(name)
    shown = part.select(np.array(rows))
    plain = _decoded(shown, input_size)
    views = [] if name == "none" else _views(name, shown, rows, input_size, seed)
    cells = []
    for at, row in enumerate(rows):
        original = part.images.full_size(row)
        label = splits.class_names[part.labels[row]]
        size = f"{original.shape[1]:,} x {original.shape[0]:,} px"
        line = [Cell(original, (label, size)), Cell(plain[at], ("",))]
        kept = VIEWS - MIXED if policy.mixes else VIEWS
        line += [Cell(view[at], ("",)) for view in views[:kept]]
        cells.append(line)
    titles = ["file", "the network sees", *[f"view {at}" for at in range(1, len(cells[0]) - 1)]]
    if policy.mixes:
        for view, line in _mixed(views[VIEWS - MIXED :], splits, rows, seed):
            for at, cell in enumerate(line):
                cells[at].append(cell)
            titles.append(f"mixed batch {view + 1}")
    return Block(name, policy.summary, tuple(titles), tuple(map(tuple, cells)))


def _decoded(part: Part, size: tuple[int, int]) -> np.ndarray:
    """Return the images of a part that can be decoded as a whole, uint8 `(images, *size, 3)`."""
    return np.concatenate([images.numpy() for images, _ in image_dataset(part, size)])


def _views(
    name: str, part: Part, rows: list[int], input_size: tuple[int, int], seed: int
) -> list[np.ndarray]:
    """Make the views of all rows, `VIEWS` times."""
    sources = _decoded(part, source_size(name, input_size))
    return [
        np.stack(
            [
                augment(image, view_seed(seed, row, view), name, input_size).numpy()
                for image, row in zip(sources, rows, strict=True)
            ]
        )
        for view in range(VIEWS)
    ]


def _mixed(
    views: list[np.ndarray], splits: Splits, rows: list[int], seed: int
) -> Iterator[tuple[int, list[Cell]]]:
    """Yield the rows as batches that were mixed, each with the shares of its classes."""
    labels = np.eye(len(splits.class_names), dtype=np.float32)[splits.train.labels[rows]]
    for at, view in enumerate(views):
        images, shares = mix(view, labels, _batch_seed(seed, at))
        yield (
            at,
            [
                Cell(image, _shares_in_words(share, splits.class_names))
                for image, share in zip(images.numpy(), shares.numpy(), strict=True)
            ],
        )


def _batch_seed(seed: int, number: int) -> tf.Tensor:
    return view_seed(seed, 2**31 - 1, number)


def _shares_in_words(shares: np.ndarray, class_names: tuple[str, ...]) -> tuple[str, ...]:
    most = [int(each) for each in np.argsort(-shares, kind="stable")[:2]]
    return tuple(f"{shares[at]:.0%} {class_names[at]}" for at in most if shares[at] >= 0.005)


def _title(data: Any) -> str:
    """Return the name of a folder or file; of anything else its type."""
    if isinstance(data, str | bytes | os.PathLike):
        return os.path.basename(os.path.abspath(os.fsdecode(data)))
    return type(data).__name__


def _subtitle(splits: Splits, input_size: tuple[int, int], seed: int) -> str:
    height, width = input_size
    return (
        f"{len(splits.train):,} training images of {len(splits.class_names):,} classes, seen at "
        f"{width} x {height} px, seed {seed}"
    )
