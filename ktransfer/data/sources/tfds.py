"""Data sets of TensorFlow Datasets (the extra `tfds`): a name, a builder, a prepared directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import Part, listed
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.labels import labels_by_name, positions
from ktransfer.data.reading.layout import TFDS_PREFIX
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.sources.dataset import read_dataset
from ktransfer.data.sources.source import (
    EVALUATED,
    Contents,
    HeldSource,
    Names,
    Options,
    Unlabelled,
    unlabelled,
)
from ktransfer.errors import InputError, unknown_name

_FILES = ("dataset_info.json", "features.json")


class TensorFlowDatasets(HeldSource):
    """`"tfds:NAME"`, a builder, or a prepared directory."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is one of these, a directory by its files. Nothing is imported."""
        if not is_path(data):
            module = sys.modules.get("tensorflow_datasets")
            return module is not None and isinstance(data, module.core.DatasetBuilder)
        path = os.fsdecode(data)
        prepared = all(os.path.isfile(os.path.join(path, each)) for each in _FILES)
        return path.startswith(TFDS_PREFIX) or prepared

    @property
    def name(self) -> str | None:
        """The name that it has in TFDS; of a directory its path."""
        if not is_path(self.data):
            return str(self.data.info.full_name)
        return self.path if self.path.startswith(TFDS_PREFIX) else super().name

    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source that is held."""
        builder = self._builder()
        own = _class_names_of(builder)
        splits, others = _parts_of(builder)
        parts: dict[str, Part] = {}
        skipped: list[Skipped] = []
        name = builder.info.full_name
        notes = [f"the splits {listed(list(others))} of {name} are not read"] if others else []
        for part, split in splits.items():
            source = f"{name} {split}"
            dataset = dataset_of(builder, split)
            images, given, lost = read_dataset(dataset, source, value_range=options.value_range)
            skipped += lost
            # So TFDS says that the labels of a part were never published.
            if part != "train" and (given == -1).all():
                notes.append(f"{source} has no labels: not used")
                continue
            if own:
                given = labels_by_name(given, own, source)
            labels, class_names = positions(given, class_names or own, source)
            parts[part] = Part(part, images, labels)
        return Contents(parts, class_names or own or (), tuple(skipped), tuple(notes))

    def read_images(self, options: Options) -> Unlabelled:
        """Return those of the test part, of validation or of train."""
        builder = self._builder()
        splits, _ = _parts_of(builder)
        split = splits[next(name for name in EVALUATED if name in splits)]
        images, _, skipped = read_dataset(
            dataset_of(builder, split),
            f"{builder.info.full_name} {split}",
            labelled=False,
            value_range=options.value_range,
        )
        return unlabelled(images, skipped)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Tell whether TFDS is installed."""
        check_installed(self.path)

    def files(self) -> Iterator[str]:
        """Yield all files of a prepared directory."""
        if is_path(self.data):
            for folder, _, names in os.walk(self.path):
                yield from (os.path.join(folder, each) for each in names)

    def _builder(self) -> Any:
        return _builder_of(self.path) if is_path(self.data) else self.data


def check_installed(source: str) -> None:
    """Raise an `InputError` that names the extra where TFDS is not installed."""
    import importlib.util

    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise _not_installed(source)


def _builder_of(source: str) -> Any:
    """Return the builder of a name or a directory.

    What is not on this machine is downloaded by TFDS.
    """
    tfds = _imported(source)
    if not source.startswith(TFDS_PREFIX):
        return tfds.builder_from_directory(source)
    name = source.removeprefix(TFDS_PREFIX)
    try:
        builder = tfds.builder(name)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise unknown_name("TFDS data set", name, tfds.list_builders()) from error
    except (ValueError, RuntimeError, AssertionError) as error:
        raise InputError(f"{source!r}: {error}") from error
    try:
        builder.download_and_prepare()
    # Downloads fail in as many ways as there are servers.
    except Exception as error:
        raise InputError(
            f"{source!r} is not prepared in {builder.data_dir!r}, and cannot be: "
            f"{type(error).__name__}: {error}"
        ) from error
    return builder


def _parts_of(builder: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the splits of a builder by the part that they are, and those that are none."""
    splits = dict(builder.info.splits)
    if not splits:
        raise InputError(
            f"the TFDS data set {builder.info.full_name!r} is not prepared: call "
            "builder.download_and_prepare() first"
        )
    parts: dict[str, str] = {}
    for name in splits:
        if part := part_of(name):
            parts.setdefault(part, name)
    others = tuple(name for name in splits if name not in parts.values())
    if not parts:
        raise InputError(
            f"the TFDS data set {builder.info.full_name!r} has the splits {listed(list(splits))}: "
            "expected train, and perhaps validation and test"
        )
    return parts, others


def _class_names_of(builder: Any) -> tuple[str, ...] | None:
    """Return the names of its label's classes; None where it has none."""
    label = builder.info.features[_keys(builder)[1]]
    names = getattr(label, "names", None)
    return tuple(names) if names else None


def dataset_of(builder: Any, split: str) -> Any:
    """Return a `tf.data.Dataset` of (encoded image, label), in the order on disk."""
    tfds = _imported(builder.info.full_name)
    image, label = _keys(builder)
    # The bytes as they are: they take less space than pixels, and are decoded as files are.
    decoders = {}
    if isinstance(builder.info.features[image], tfds.features.Image):
        decoders[image] = tfds.decode.SkipDecoding()
    dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    return dataset.map(lambda each: (each[image], each[label]))


def _keys(builder: Any) -> tuple[str, str]:
    """Return the names of the image and of the label."""
    tfds = _imported(builder.info.full_name)
    features = builder.info.features
    if builder.info.supervised_keys and len(builder.info.supervised_keys) == 2:
        image, label = builder.info.supervised_keys
        if image in features and label in features:
            return image, label
    images = list(_of_kind(features, tfds.features.Image))
    labels = list(_of_kind(features, tfds.features.ClassLabel))
    if len(images) != 1 or len(labels) != 1:
        raise InputError(
            f"the TFDS data set {builder.info.full_name!r} is no image classification: it has the "
            f"features {listed(list(features))}, {len(images)} of them images and {len(labels)} "
            "labels"
        )
    return images[0], labels[0]


def _of_kind(features: Any, kind: type) -> Iterator[str]:
    return (name for name in features if isinstance(features[name], kind))


def _imported(source: str) -> ModuleType:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise _not_installed(source) from error
    module: ModuleType = tfds
    return module


def _not_installed(source: str) -> InputError:
    return InputError(
        f"{source!r} needs TensorFlow Datasets, which is not installed: "
        'pip install "ktransfer[tfds]"'
    )
