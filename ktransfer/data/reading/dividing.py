"""Holds a part of the training images back for validation or test, or each once in turn."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import Part, Splits, joined
from ktransfer.data.reading.duplicates import duplicate_notes
from ktransfer.data.reading.look_alikes import look_alike_notes
from ktransfer.data.reading.odd_labels import missing_value_notes, several_notes
from ktransfer.errors import InputError


def check_split(validation_fraction: float, seed: int) -> None:
    """Raise an `InputError` if a share or a seed is out of range."""
    if not isinstance(validation_fraction, int | float) or not 0.0 < validation_fraction < 1.0:
        raise InputError(
            f"validation_fraction must lie between 0 and 1, got {validation_fraction!r}"
        )
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be an integer of at least 0, got {seed!r}")


def divide(
    whole: Part, class_names: Sequence[str], validation_fraction: float, seed: int
) -> tuple[Part, Part]:
    """Divide a part into train and validation, each class by itself.

    Args:
        whole: at least two images of each class.
        class_names: names of the labels.
        validation_fraction: the share of each class that goes into validation; at least one image
            of each class goes to either side.
        seed: the same images in the same order give the same split.

    Returns:
        The parts "train" and "validation", each in the order of the whole.
    """
    held_back: list[int] = []
    for label, name in enumerate(class_names):
        members = np.flatnonzero(whole.labels == label)
        count = min(max(1, int(len(members) * validation_fraction + 0.5)), max(0, len(members) - 1))
        # A generator for each class: adding images to one leaves the split of the others as it was.
        generator = np.random.default_rng([seed, zlib.crc32(os.fsencode(name))])
        held_back += sorted(generator.permutation(members)[:count].tolist())
    train = whole.select(np.setdiff1d(np.arange(len(whole)), held_back))
    validation = whole.select(np.asarray(held_back, np.int64))
    return replace(train, name="train"), replace(validation, name="validation")


def with_test(splits: Splits, fraction: float, seed: int) -> Splits:
    """Return the same with a test part: where the data has none, a share of each class of train.

    Raises:
        InputError: the share does not lie between 0 and 1.
    """
    if splits.test is not None:
        return splits
    if not isinstance(fraction, int | float) or not 0.0 < fraction < 1.0:
        raise InputError(f"test_fraction must lie between 0 and 1, got {fraction!r}")
    train, test = divide(splits.train, splits.class_names, fraction, seed)
    note = f"{len(test)} training images were held back as a test part (seed={seed})"
    return replace(
        splits,
        train=train,
        test=replace(test, name="test"),
        test_held_back=True,
        notes=(*splits.notes, note),
    )


def folds_of(labels: np.ndarray, class_names: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """Return the fold in which each image is held back, stratified: folds for cross-validation.

    Args:
        labels: integers `(images,)`.
        class_names: names of the labels.
        folds: how many; of each class and in all they have as many images as each other, or one
            more.
        seed: the same labels in the same order give the same folds.

    Returns:
        Integers `(images,)`, from 0.

    Raises:
        InputError: there are fewer than 2 folds, or a class has fewer images than there are folds.
    """
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    counts = np.bincount(labels, minlength=len(class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < folds:
        raise InputError(
            f"folds={folds}, but class {class_names[smallest]!r} has {counts[smallest]} images in "
            f"train and validation: give at most {counts[smallest]}, or more images"
        )
    found = np.empty(len(labels), np.int64)
    begun = 0  # a class goes on where the one before it ended, so that no fold gets all remainders
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        generator = np.random.default_rng([seed, zlib.crc32(os.fsencode(name))])
        found[generator.permutation(members)] = (begun + np.arange(len(members))) % folds
        begun += len(members)
    return found


def in_fold(splits: Splits, folds: int, fold: int, seed: int) -> Splits:
    """Train and validation together, divided anew: one fold is held back. The test part stays.

    Args:
        splits: the images.
        folds: as in `folds_of`.
        fold: which one is held back, from 0.
        seed: as in `folds_of`.

    Raises:
        InputError: as `folds_of`, or the two parts come from sources of two kinds.
    """
    parts = (splits.train, splits.validation)
    if len({type(part.images) for part in parts}) > 1:
        raise InputError(
            "folds need train and validation of one kind, and here the images of one lie in files "
            "and those of the other in memory: give both as folders, or both as arrays"
        )
    every = joined(parts)
    held = folds_of(every.labels, splits.class_names, folds, seed) == fold
    train, validation = (every.select(np.flatnonzero(rows)) for rows in (~held, held))
    return replace(
        splits,
        train=replace(train, name="train"),
        validation=replace(validation, name="validation"),
        held_back=True,
    )


def splits_from(
    parts: Mapping[str, Part],
    class_names: Sequence[str],
    *,
    source: str,
    skipped: Iterable[Skipped],
    notes: Iterable[str],
    validation_fraction: float,
    seed: int,
) -> Splits:
    """Return the splits of parts whose classes have been checked.

    Args:
        parts: "train" at least; validation is held back from it where there is none.
        class_names: names of the labels.
        source: what validation is held back from, in words.
        skipped: what was left out.
        notes: remarks so far; those on duplicates are added.
        validation_fraction: as in `divide`.
        seed: as in `divide`.
    """
    train, validation, test = parts["train"], parts.get("validation"), parts.get("test")
    remarks = list(notes)
    held_back = validation is None
    if validation is None:
        train, validation = divide(train, class_names, validation_fraction, seed)
        remarks.insert(0, _split_note(source, train, validation, validation_fraction, seed))
    remarks += [*look_alike_notes(class_names), *several_notes(class_names)]
    labels = np.concatenate([part.labels for part in (train, validation, test) if part])
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    remarks += missing_value_notes(dict(zip(class_names, counts, strict=True)))
    remarks += duplicate_notes([train, validation] + ([test] if test else []), class_names)
    return Splits(
        train,
        validation,
        test,
        tuple(class_names),
        tuple(skipped),
        tuple(remarks),
        held_back=held_back,
    )


def _split_note(source: str, train: Part, validation: Part, fraction: float, seed: int) -> str:
    """Say what was held back, in words."""
    return (
        f"validation was split from {source}: {len(validation)} of "
        f"{len(train) + len(validation)} images (validation_fraction={fraction:g}, seed={seed})"
    )
