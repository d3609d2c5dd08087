"""Labelled images from wherever people have them, as the same parts: the front door.

read_data("photos/")                                   # a folder
read_data("photos.csv"), read_data(frame)              # a table: path, label[, split]
read_data("tfds:beans"), read_data(builder)            # TensorFlow Datasets
read_data((images, labels)), read_data("digits.npz")   # arrays, and files of them
read_data(dataset)                                     # (image, label) of tf.data, Keras
read_data({"train": one, "validation": another})       # parts, each of any kind above
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ktransfer.data.images.depth import check_deep, with_value_range
from ktransfer.data.images.value_range import AUTO, ValueRange, given_range
from ktransfer.data.parts import Splits
from ktransfer.data.reading.dividing import check_split
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.labels import check_class_names
from ktransfer.data.reading.layout import Path, existing_folder, not_a_folder
from ktransfer.data.reading.listing import Listing
from ktransfer.data.sources.arrays import Arrays
from ktransfer.data.sources.dataset import Dataset
from ktransfer.data.sources.images import Images
from ktransfer.data.sources.numpy_file import NumpyFile
from ktransfer.data.sources.parts import Parts
from ktransfer.data.sources.paths import Folder, SingleFile
from ktransfer.data.sources.source import EVALUATED, Found, Options, Source, Unlabelled, refused
from ktransfer.data.sources.table import Table
from ktransfer.data.sources.tfds import TensorFlowDatasets

if TYPE_CHECKING:
    import pandas as pd

#: Every kind of source. The first that accepts what is given reads it.
KINDS: tuple[type[Source], ...] = (
    TensorFlowDatasets,
    Folder,
    NumpyFile,
    Table,
    SingleFile,
    Dataset,
    Arrays,
    Images,
    Parts,
)

_NEVER_TRAIN = ("test", "validation")


def source_of(data: Any, *, labelled: bool = True) -> Source:
    """Say which source something is.

    Args:
        data: as in `read_data`, or `read_images`.
        labelled: False: its images may come without labels.

    Raises:
        InputError: it is none.
    """
    for kind in KINDS:
        if kind.accepts(data, labelled=labelled):
            return kind(data, source_of)
    raise refused(data)


def read_data(
    data: Any,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    value_range: str | ValueRange | None = AUTO,
) -> Splits:
    """Read labelled images from any source and divides them into parts.

    Args:
        data: a folder (`read_folder`); a CSV file or DataFrame with the columns path, label and
            perhaps split (`tables.read_table`); `"tfds:NAME"`, `"tfds:NAME/config:version"`, a
            builder or a prepared directory of TFDS; `(images, labels)`, where images are an array,
            or a list of arrays, PIL images, encoded images and paths; a `.npz` file of such arrays
            (`numpy_file`); a `tf.data.Dataset` or Keras `PyDataset` of (image, label), which is
            read once; or, for explicit parts, a dict with the keys train, validation and test, or a
            tuple in this order.
        validation_fraction: the share of each class held back where there is no validation part.
        seed: of that split. The same images in the same order give the same split.
        class_names: the names of the labels, where the source has none or another order is wanted.
            None: those of the source, sorted, or "0", "1", ...
        value_range: the values that are black and white in images of more than 8 bits (files,
            uint16 arrays): `(low, high)`; `"auto"`: measured from all images, as
            `value_range.choose` says; `"full"`: those of each image's type, such as 65535. Where
            two values are given, they hold for all arrays but uint8.

    Returns:
        The parts, the class names, what was left out with its reason, and notes.

    Raises:
        InputError: the source is of no known kind, cannot be read, or holds what cannot be learnt
            from; the message says what.
    """
    check_split(validation_fraction, seed)
    names = check_class_names(class_names) if class_names is not None else None
    source = source_of(data)
    splits = source.read_data(names, Options(given_range(value_range), validation_fraction, seed))
    splits = with_value_range(splits, value_range)
    check_deep(splits.parts)
    return replace(splits, source=source.name)


def read_labelled(
    data: Any,
    class_names: Sequence[str],
    *,
    preferred: Sequence[str] = EVALUATED,
    value_range: ValueRange | None = None,
) -> Found:
    """Read labelled images of known classes as one part, to evaluate on.

    Args:
        data: as in `read_data`; of several parts test is taken first, then validation.
        class_names: the names that the model knows; labels are positions in them.
        preferred: which part is taken instead, in this order.
        value_range: the values that are black and white, those that the model learnt with; None:
            those of each image's type.

    Returns:
        The part, called "train" where the data has no parts, what was left out with its reason, and
        notes.

    Raises:
        InputError: as `read_data`, or a class is not in `class_names`.
    """
    options = Options(value_range, preferred=tuple(preferred))
    part, skipped, notes = source_of(data).read_labelled(tuple(class_names), options)
    part = part.with_range(value_range)
    check_deep([part])
    return part, skipped, notes


def read_images(data: Any, *, value_range: ValueRange | None = None) -> Unlabelled:
    """Read images without looking at their labels, to predict on.

    Args:
        data: a path, or several, of files, folders and CSV files (`read_paths`); an image, or
            several in a list, a tuple, a generator or the like, each as it comes: an array, a PIL
            image, the bytes of an image file, an open binary file, a path; an array of images; else
            as in `read_data`, where labels may be missing. Of several parts test is taken first,
            then validation. None at all are no error.
        value_range: as in `read_labelled`.

    Returns:
        The part, named "prediction" and with labels -1, and what was left out with its reason.

    Raises:
        InputError: the source is of no known kind, or cannot be read.
    """
    part, skipped = source_of(data, labelled=False).read_images(Options(value_range))
    part = part.with_range(value_range)
    check_deep([part])
    return part, skipped


def read_listing(data: Path | pd.DataFrame) -> Listing:
    """Read a folder, a CSV file or a DataFrame by the headers of its images.

    Whatever is wrong with the data is in the result: parts may lack train, classes may be empty,
    differ between parts or be one only. Two folders for one part are read as one.

    Args:
        data: the folder, with class folders, or with parts (train, val, test) of class folders; or
            the table, with the columns path, label and perhaps split.

    Returns:
        The readable images by part and class, and what cannot be used.

    Raises:
        InputError: the path does not exist, or is neither a folder nor a CSV file that can be read.
    """
    listing = source_of(data).listing()
    if listing is None:
        raise not_a_folder(os.fsdecode(data)) if is_path(data) else refused(data)
    return listing


def read_folder(
    path: Path,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
) -> Splits:
    """Read a folder of labelled images by their headers and divides it into parts.

    Layouts: `train`, `val` and perhaps `test` with class folders inside (or what else people call
    them: Training_Set, seg_test, dev); the same without `val`, which is then split from train;
    class folders alone, which are split; or class folders with `train` and `val` inside each. A
    folder around all of it is gone through, and a `test` that has no classes, or others than train,
    is noted and not used. Class folders are walked recursively. Nothing is decoded and nothing is
    written.

    Args:
        path: the folder.
        validation_fraction: the share of each class, between 0 and 1, that a split puts into
            validation; at least one image of each class goes to either side. Not used where the
            folder has a `val` part.
        seed: of the split, 0 or more. The same files give the same split, wherever the folder lies.
        class_names: the names of the class folders in the order wanted; None: sorted. Where a
            folder can be read in two ways, they say which one is meant.

    Returns:
        The parts, the class names, every file that was left out with its reason, and notes.

    Raises:
        InputError: if the folder does not exist, has no class folders, only one class, a class
            without readable images (or with one only, where it must be split), if train and
            validation have different classes, if the folder can be read in two ways, or if
            `validation_fraction` or `seed` is out of range.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> photos = pathlib.Path(tempfile.mkdtemp())
        >>> for shade in range(10):
        ...     folder = photos / ("light" if shade > 4 else "dark")
        ...     folder.mkdir(exist_ok=True)
        ...     Image.new("L", (8, 8), 25 * shade).save(folder / f"{shade}.png")
        >>> splits = read_folder(photos)
        >>> splits.class_names, len(splits.train), len(splits.validation)
        (('dark', 'light'), 8, 2)
    """
    check_split(validation_fraction, seed)
    names = None if class_names is None else tuple(class_names)
    options = Options(None, validation_fraction, seed)
    return Folder(existing_folder(path), source_of).read_data(names, options)


def read_part(path: Path, class_names: Sequence[str], *, name: str = "test") -> Found:
    """Read a folder of labelled images as one part, to evaluate on.

    Args:
        path: a folder with class folders, or with a `test` (preferred) or `val` folder that has
            them.
        class_names: the names that the model knows; labels are positions in them.
        name: the part's name.

    Returns:
        The part, the files left out with their reasons, and notes (a class without images is one).

    Raises:
        InputError: if the folder does not exist, holds no readable image, or has a class folder
            that is not in `class_names`.
    """
    folder, options = Folder(existing_folder(path), source_of), Options(preferred=_NEVER_TRAIN)
    part, skipped, notes = folder.read_labelled(tuple(class_names), options)
    return replace(part, name=name), skipped, notes
