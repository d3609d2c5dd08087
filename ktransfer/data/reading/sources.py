"""Labelled images from wherever people have them, as the same parts: the front door of this room.

read_data("photos/")                                   # a folder
read_data("photos.csv"), read_data(frame)              # a table: path, label[, split]
read_data("tfds:beans"), read_data(builder)            # TensorFlow Datasets
read_data((images, labels)), read_data("digits.npz")   # arrays, and files of them
read_data(dataset)                                     # (image, label) of tf.data, Keras
read_data({"train": one, "validation": another})       # parts, each of any kind above
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ktransfer.data.images.depth import check_deep, with_value_range
from ktransfer.data.images.header import Skipped
from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import AUTO, ValueRange, given_range
from ktransfer.data.parts import Part, Splits, listed
from ktransfer.data.reading import catalog
from ktransfer.data.reading.arrays import CHANNELS, as_array, held_array
from ktransfer.data.reading.classes import Reading, checked_classes, read_classes
from ktransfer.data.reading.datasets import class_names_of, read_dataset
from ktransfer.data.reading.dividing import check_split, splits_from
from ktransfer.data.reading.duplicates import duplicate_notes
from ktransfer.data.reading.folder import (
    chosen_folder,
    labelled_part,
    read_folder,
    read_paths,
    splits_of,
)
from ktransfer.data.reading.items import is_array, is_item, is_path, read_items
from ktransfer.data.reading.labels import check_class_names, positions
from ktransfer.data.reading.layout import TFDS_PREFIX, existing_folder, existing_source, path_kind
from ktransfer.data.reading.listing import listing_of_table
from ktransfer.data.reading.numpy_files import read_numpy
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.reading.tables import read_table, readings
from ktransfer.errors import InputError, unknown_name

ACCEPTED = (
    "expected a folder, a CSV file or DataFrame, a TFDS name (tfds:NAME) or builder, arrays "
    "(images, labels) or a .npz file of them, a tf.data.Dataset or PyDataset of (image, label), or "
    "a dict of such with the keys train, validation and test"
)

_PARTS = ("train", "validation", "test")

#: The parts in the order in which one to evaluate on is looked for.
EVALUATED = ("test", "validation", "train")

Found = tuple[Part, tuple[Skipped, ...], tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class _Contents:
    """What a source that is neither a folder nor a table holds."""

    parts: dict[str, Part]
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def read_data(
    data: Any,
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    value_range: str | ValueRange | None = AUTO,
) -> Splits:
    """Reads labelled images from any source and divides them into parts.

    Args:
        data: a folder (`read_folder`); a CSV file or DataFrame with the columns path, label and
            perhaps split (`tables.read_table`); `"tfds:NAME"`, `"tfds:NAME/config:version"`, a
            builder or a prepared directory of TFDS; `(images, labels)`, where images are an array,
            or a list of arrays, PIL images, encoded images and paths; a `.npz` file of such arrays
            (`numpy_files`); a `tf.data.Dataset` or Keras `PyDataset` of (image, label), which is
            read once; or, for explicit parts, a dict with the keys train, validation and test, or a
            tuple in this order.
        validation_fraction: the share of each class held back where there is no validation part.
        seed: of that split. The same images in the same order give the same split.
        class_names: the names of the labels, where the source has none or another order is wanted.
            None: those of the source, sorted, or "0", "1", ...
        value_range: the values that are black and white in grey images of more than 8 bits (files,
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
    splits = _read(data, names, validation_fraction, seed, given_range(value_range))
    splits = with_value_range(splits, value_range)
    check_deep(splits.parts)
    return replace(splits, source=source_name(data))


def _read(
    data: Any,
    names: tuple[str, ...] | None,
    validation_fraction: float,
    seed: int,
    value_range: ValueRange | None,
) -> Splits:
    options: dict[str, Any] = {"validation_fraction": validation_fraction, "seed": seed}
    data, kind = _opened(data)
    if kind == "folder":
        return read_folder(data, **options, class_names=names)
    if kind == "table":
        table = read_table(data)
        table.check()
        listing = listing_of_table(table.named(names))
        return splits_of(listing, table.where, names, validation_fraction, seed)
    if kind == "parts":
        found = _explicit(data, names, value_range)
    else:
        found = _contents(data, kind, names, "train", value_range)
    _check_train(found, "validation" not in found.parts)
    return splits_from(
        found.parts,
        found.class_names,
        source="the training images",
        skipped=found.skipped,
        notes=found.notes,
        **options,
    )


def read_labelled(
    data: Any,
    class_names: Sequence[str],
    *,
    preferred: Sequence[str] = EVALUATED,
    value_range: ValueRange | None = None,
) -> Found:
    """Reads labelled images of known classes as one part, to evaluate on.

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
    found = _labelled(data, tuple(class_names), preferred, value_range)
    part = found[0].with_range(value_range)
    check_deep([part])
    return part, *found[1:]


def read_images(
    data: Any, *, value_range: ValueRange | None = None
) -> tuple[Part, tuple[Skipped, ...]]:
    """Reads images without looking at their labels, to predict on.

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
    part, skipped = _unlabelled(data, value_range)
    part = part.with_range(value_range)
    check_deep([part])
    return part, skipped


def _unlabelled(data: Any, value_range: ValueRange | None) -> tuple[Part, tuple[Skipped, ...]]:
    if is_array(data) and not _is_one_array(data):  # of paths, or of encoded images
        data = as_array(data, "the array").ravel().tolist()
    if _is_one_array(data):
        return _prediction(held_array(data, "the array", value_range, several=False), ())
    if is_item(data):
        return _of_items([data], value_range)
    several = _one_by_one(data)
    if several is None:
        return _of_source(data, value_range)
    paths: list[Any] = []
    for each in several:
        if not is_path(each):
            return _of_items(itertools.chain(paths, [each], several), value_range)
        paths.append(each)
    return _of_source(paths[0], value_range) if len(paths) == 1 else read_paths(paths)


def _prediction(
    images: HeldImages, skipped: tuple[Skipped, ...]
) -> tuple[Part, tuple[Skipped, ...]]:
    return Part("prediction", images, np.full(len(images), -1, np.int32)), skipped


def _of_items(
    given: Iterable[Any], value_range: ValueRange | None
) -> tuple[Part, tuple[Skipped, ...]]:
    found = read_items(given, "the images", value_range)
    return _prediction(found.images, found.skipped)


def _one_by_one(data: Any) -> Iterator[Any] | None:
    """The images or paths of a list, a generator or the like; None: it is another source."""
    source = is_path(data) or hasattr(data, "columns") or isinstance(data, Mapping)
    if source or _is_dataset(data) or catalog.is_builder(data) or not isinstance(data, Iterable):
        return None
    if isinstance(data, list | tuple) and data:
        nested = isinstance(data, list) and isinstance(data[0], list)
        if _are_labelled(data) or not (is_item(data[0]) or is_path(data[0]) or nested):
            return None
    return iter(data)


def _are_labelled(data: list[Any] | tuple[Any, ...]) -> bool:
    """Whether they are (images, labels), and not two images."""
    if not (isinstance(data, tuple) and len(data) == 2 and _holds_images(data[0])):
        return False
    images, labels = data
    if isinstance(images, list):
        return not is_item(labels) or is_array(labels)
    shape, axes = np.shape(images), np.ndim(labels) if is_array(labels) else 1
    # Of one-hot rows and a grey image only what stands before them tells which they are.
    several = len(shape) == 4 or (len(shape) == 3 and shape[-1] not in CHANNELS)
    return not isinstance(labels, Image.Image) and (axes == 1 or (axes == 2 and several))


def _of_source(data: Any, value_range: ValueRange | None) -> tuple[Part, tuple[Skipped, ...]]:
    """Images of a source that `fit` takes, too, with labels or without."""
    data, kind = _opened(data, labelled=False)
    if kind == "images":
        return _unlabelled(data, value_range)
    if kind in ("folder", "file"):
        return read_paths(data)
    if kind == "table":
        return read_paths(data) if is_path(data) else _table_images(data)
    if kind == "parts":
        parts = _named_sources(data)
        chosen = parts[next(name for name in EVALUATED if name in parts)]
        return _unlabelled(chosen, value_range)
    if kind == "arrays":
        return _of_labelled(data, value_range)
    if kind == "tfds":
        builder = catalog.builder_of(os.fsdecode(data)) if is_path(data) else data
        splits, _ = catalog.parts_of(builder)
        split = splits[next(name for name in EVALUATED if name in splits)]
        dataset, source = catalog.dataset_of(builder, split), f"{builder.info.full_name} {split}"
    else:
        dataset, source = data, "the dataset"
    images, _, skipped = read_dataset(dataset, source, labelled=False, value_range=value_range)
    return _prediction(images, skipped)


def _of_labelled(data: Any, value_range: ValueRange | None) -> tuple[Part, tuple[Skipped, ...]]:
    """The images of (images, labels)."""
    images, labels = data
    if not _is_one_array(images):
        return _of_items(images, value_range)
    held = held_array(images, "the array", value_range)
    if np.ndim(labels) not in (1, 2) or len(labels) != len(held):
        raise InputError(
            f"two arrays are images and labels, got the shapes {np.shape(images)} and "
            f"{np.shape(labels)}: give images as one array or as a list"
        )
    return _prediction(held, ())


def _opened(data: Any, *, labelled: bool = True) -> tuple[Any, str]:
    """A source and its kind; of a file of NumPy what it holds."""
    kind = source_kind(data, labelled=labelled)
    if kind != "numpy":
        return data, kind
    held = read_numpy(os.fsdecode(data), labelled=labelled)
    return held, "images" if is_array(held) else source_kind(held, labelled=labelled)


def source_kind(data: Any, *, labelled: bool = True) -> str:
    """What a source is: "folder", "table", "numpy", "tfds", "arrays", "dataset", "parts", "file".

    Args:
        data: the source.
        labelled: False: a path may be that of one file.

    Raises:
        InputError: it is none of them, or a path that does not exist.
    """
    if is_path(data):
        return existing_source(os.fsdecode(data)) if labelled else path_kind(os.fsdecode(data))
    if hasattr(data, "columns") and hasattr(data, "itertuples"):
        return "table"
    if catalog.is_builder(data):
        return "tfds"
    if _is_dataset(data):
        return "dataset"
    if isinstance(data, Mapping):
        return "parts"
    if isinstance(data, tuple) and len(data) == 2 and _holds_images(data[0]):
        return "arrays"
    if isinstance(data, tuple) and len(data) in (2, 3):
        return "parts"
    if is_array(data):
        raise InputError(f"images of shape {np.shape(data)} come without labels; {ACCEPTED}")
    raise InputError(f"cannot read images from {_short(data)}; {ACCEPTED}")


def source_name(data: Any) -> str | None:
    """What tells a source again in a later run: a path, or a TFDS name; None for all in memory."""
    if not is_path(data):
        return data.info.full_name if catalog.is_builder(data) else None
    path = os.fsdecode(data)
    return path if path.startswith(TFDS_PREFIX) else os.path.realpath(path)


def _is_dataset(data: Any) -> bool:
    # Whoever has one has imported what it is made of.
    tensorflow, keras = sys.modules.get("tensorflow"), sys.modules.get("keras")
    if tensorflow is not None and isinstance(data, tensorflow.data.Dataset):
        return True
    return keras is not None and isinstance(data, keras.utils.PyDataset)


def _holds_images(value: Any) -> bool:
    """Whether it may be the images of (images, labels): an array, or a list of images."""
    if hasattr(value, "itertuples") or _is_dataset(value):
        return False
    return is_array(value) or isinstance(value, list)


def _is_one_array(images: Any) -> bool:
    """Whether images come as one array, and not one by one: paths or encoded, or a list."""
    if not is_array(images):
        return False
    values = as_array(images, "the array")
    return values.dtype.kind not in "SUO" or values.ndim != 1


def _short(data: Any) -> str:
    text = repr(data)
    return f"{type(data).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _contents(
    data: Any,
    kind: str,
    class_names: tuple[str, ...] | None,
    name: str,
    value_range: ValueRange | None,
) -> _Contents:
    if kind == "tfds":
        builder = catalog.builder_of(os.fsdecode(data)) if is_path(data) else data
        return _of_builder(builder, class_names, value_range)
    source = "the data" if name == "train" else f"the {name} data"
    if kind == "arrays":
        return _of_arrays(data[0], data[1], class_names, source, value_range)
    images, given, skipped = read_dataset(data, source, value_range=value_range)
    own = class_names_of(data)
    if own and not _only_numbers(class_names):
        given = _named(given, own, source)
    labels, names = positions(given, class_names or own, source)
    return _Contents({"train": Part("train", images, labels)}, names, skipped)


def _named(given: np.ndarray, own: tuple[str, ...], source: str) -> np.ndarray:
    """Labels by the names that their source has for them, of which others have another order."""
    return np.array(own, object)[positions(given, own, source)[0]]


def _only_numbers(class_names: tuple[str, ...] | None) -> bool:
    """Whether classes are called "0", "1", ...: then a model was trained without names."""
    return class_names is not None and class_names == tuple(map(str, range(len(class_names))))


def _of_arrays(
    images: Any,
    given: Any,
    class_names: tuple[str, ...] | None,
    source: str,
    value_range: ValueRange | None,
) -> _Contents:
    if _is_one_array(images):
        held, numbers = held_array(images, source, value_range), None
        skipped: tuple[Skipped, ...] = ()
        count, shape = len(held), f" of shape {np.shape(images)[1:]}"
    else:
        found = read_items(images, source, value_range)
        held, numbers, skipped = found.images, found.numbers, found.skipped
        count, shape = len(held) + len(skipped), ""
    labels, names = positions(given, class_names, source)
    if len(labels) != count:
        raise InputError(
            f"{source} has {count} images{shape} and {len(labels)} labels: expected a label for "
            "each image"
        )
    kept = labels if numbers is None else labels[numbers]
    return _Contents({"train": Part("train", held, kept)}, names, skipped)


def _of_builder(
    builder: Any, class_names: tuple[str, ...] | None, value_range: ValueRange | None
) -> _Contents:
    own = catalog.class_names_of(builder)
    splits, others = catalog.parts_of(builder)
    parts: dict[str, Part] = {}
    skipped: list[Skipped] = []
    name = builder.info.full_name
    notes = [f"the splits {listed(list(others))} of {name} are not read"] if others else []
    for part, split in splits.items():
        source = f"{name} {split}"
        dataset = catalog.dataset_of(builder, split)
        images, given, lost = read_dataset(dataset, source, value_range=value_range)
        skipped += lost
        # So TFDS says that the labels of a part were never published.
        if part != "train" and (given == -1).all():
            notes.append(f"{source} has no labels: not used")
            continue
        if own:
            given = _named(given, own, source)
        labels, class_names = positions(given, class_names or own, source)
        parts[part] = Part(part, images, labels)
    return _Contents(parts, class_names or own or (), tuple(skipped), tuple(notes))


def _named_sources(data: Any) -> dict[str, Any]:
    """The sources of explicit parts by part, train first."""
    pairs = data.items() if isinstance(data, Mapping) else zip(_PARTS, data, strict=False)
    found: dict[str, Any] = {}
    for key, source in pairs:
        part = part_of(str(key))
        if part is None:
            raise unknown_name("part", str(key), _PARTS)
        if part in found:
            raise InputError(f"the data has two parts named {part}: {listed(list(data))}")
        found[part] = source
    if not found:
        raise InputError(f"the data has no parts; {ACCEPTED}")
    return {part: found[part] for part in _PARTS if part in found}


def _explicit(
    data: Any, class_names: tuple[str, ...] | None, value_range: ValueRange | None
) -> _Contents:
    sources = _named_sources(data)
    if "train" not in sources:
        raise InputError(f"the data has the parts {listed(list(sources))} but no train; {ACCEPTED}")
    train = _train_of(sources.pop("train"), class_names, value_range)
    parts, skipped, notes = {"train": train.parts["train"]}, [*train.skipped], [*train.notes]
    for name, source in sources.items():
        preferred = (name, *EVALUATED)
        part, lost, remarks = _labelled(source, train.class_names, preferred, value_range, name)
        parts[name] = replace(part, name=name)
        skipped += lost
        notes += remarks
    return _Contents(parts, train.class_names, tuple(skipped), tuple(notes))


def _train_of(
    data: Any, class_names: tuple[str, ...] | None, value_range: ValueRange | None
) -> _Contents:
    """The training part of a source, alone."""
    data, kind = _opened(data)
    if kind == "parts":
        raise InputError(f"the train part is made of parts again: {_short(data)}")
    if kind == "folder":
        chosen = chosen_folder(existing_folder(data), class_names, ("train",))
        reading, notes = read_classes(chosen.folders), chosen.notes
    elif kind == "table":
        table = read_table(data)
        table.check()
        reading, notes = readings(table.named(class_names))["train"], table.notes()
    else:
        found = _contents(data, kind, class_names, "train", value_range)
        if "train" not in found.parts:
            raise InputError(f"the train part has no train, but {listed(list(found.parts))}")
        return replace(found, parts={"train": found.parts["train"]})
    names = checked_classes({"train": reading}, class_names)
    part = reading.part("train", names)
    return _Contents({"train": part}, names, tuple(reading.skipped), notes)


def _labelled(
    data: Any,
    class_names: tuple[str, ...],
    preferred: Sequence[str],
    value_range: ValueRange | None,
    name: str = "train",
) -> Found:
    """The first of the preferred parts that a source has."""
    data, kind = _opened(data)
    if kind == "parts":
        sources = _named_sources(data)
        own = next(each for each in preferred if each in sources)
        part, skipped, notes = _labelled(sources[own], class_names, preferred, value_range, own)
        return replace(part, name=own), skipped, notes
    if kind in ("folder", "table"):
        chosen, reading, remarks = _chosen_reading(data, kind, class_names, preferred)
        part, skipped, notes = labelled_part(reading, class_names, chosen or "train")
        read = (f"read from {reading.where}",) if chosen else ()
        return part, skipped, (*remarks, *read, *notes)
    found = _contents(data, kind, class_names, name, value_range)
    part = next(found.parts[each] for each in preferred if each in found.parts)
    absent = [each for at, each in enumerate(class_names) if not (part.labels == at).any()]
    missed = [f"no images of {listed(absent)}"] if absent else []
    return part, found.skipped, (*found.notes, *missed, *duplicate_notes([part], class_names))


def _chosen_reading(
    data: Any, kind: str, class_names: tuple[str, ...], preferred: Sequence[str]
) -> tuple[str | None, Reading, tuple[str, ...]]:
    """Which part was chosen, None where there are no parts, what it holds, and notes."""
    if kind == "folder":
        found = chosen_folder(existing_folder(data), class_names, preferred)
        return found.part, read_classes(found.folders), found.notes
    table = read_table(data)
    table.check(needs_train=False)
    table = table.named(class_names)
    parts = {row.part for row in table.rows}
    chosen = next((each for each in preferred if each in parts), None)
    table.rows = [row for row in table.rows if row.part == (chosen or "")]
    return chosen, readings(table)[chosen or "train"], table.notes()


def _table_images(frame: Any) -> tuple[Part, tuple[Skipped, ...]]:
    table = read_table(frame, labelled=False)
    table.check()
    return read_paths([row.path for row in table.rows])


def _check_train(found: _Contents, to_be_divided: bool) -> None:
    """Raises an `InputError` if a class has too few images to learn from, or is the only one."""
    if "train" not in found.parts:
        raise InputError(f"the data has {listed(list(found.parts))} but no train part")
    names, labels = found.class_names, found.parts["train"].labels
    if len(names) < 2:
        only = f", {names[0]!r}" if names else ""
        raise InputError(f"the data has only one class{only}: expected at least two classes")
    counts = np.bincount(labels, minlength=len(names))
    for name, count in zip(names, counts, strict=True):
        if count < (2 if to_be_divided else 1):
            needed = (
                "at least 2 are needed, one to train on and one to validate with; add images or a "
                "validation part"
                if to_be_divided
                else "add images, or leave it out of class_names"
            )
            images = "1 image" if count == 1 else f"{count or 'no'} images"
            raise InputError(f"class {name!r} has {images} to train on: {needed}")
