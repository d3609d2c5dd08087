"""NumPy's own files: `.npz` of images and labels, perhaps by part, and `.npy` of images alone."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from ktransfer.data.parts import Splits, listed
from ktransfer.data.reading.items import is_array, is_path
from ktransfer.data.reading.layout import missing
from ktransfer.data.sources.source import Contents, Found, Names, Options, Source, Unlabelled
from ktransfer.errors import InputError

_PART = "train|training|val|valid|validation|test|testing"
_IMAGES = re.compile(rf"(?:({_PART})_)?(?:images|image|imgs|x|data)(?:_({_PART}))?")
_LABELS = re.compile(rf"(?:({_PART})_)?(?:labels|label|targets|target|y|classes)(?:_({_PART}))?")
# What `numpy.savez(file, images, labels)` calls them.
_UNNAMED = {"arr_0": ("images", ""), "arr_1": ("labels", "")}

_EXPECTED = (
    "expected arrays images and labels, x and y, or such by part: x_train, y_train, x_test, y_test "
    "or train_images, train_labels, val_images, ..."
)


class NumpyFile(Source):
    """A `.npz` file of images and labels, perhaps by part; or one of images, or a `.npy` file.

    Nothing is unpickled: an array of objects is refused.
    """

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is a path with the extension of such a file."""
        return is_path(data) and os.fsdecode(data).casefold().endswith((".npz", ".npy"))

    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """Return those of what it holds."""
        return self._held().read_data(class_names, options)

    def read_train(self, class_names: Names | None, options: Options) -> Contents:
        """Return those of what it holds."""
        return self._held().read_train(class_names, options)

    def read_labelled(self, class_names: Names, options: Options) -> Found:
        """Return those of what it holds."""
        return self._held().read_labelled(class_names, options)

    def read_images(self, options: Options) -> Unlabelled:
        """Return those of what it holds."""
        held = _read(self.path, labelled=False)
        return self.source_of(held, labelled=not is_array(held)).read_images(options)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Tell whether its arrays have names that are known."""
        if not os.path.lexists(self.path):
            raise missing("file", self.path)
        if self.path.casefold().endswith(".npy"):
            raise InputError(
                f"{self.path!r} holds one array, images without labels: save both, as "
                "numpy.savez(file, images=images, labels=labels)"
            )
        _by_part(self.path, _opened(self.path).files, labelled=True)

    def _held(self) -> Source:
        self.check(None)
        return self.source_of(_read(self.path, labelled=True))


def _read(path: str, *, labelled: bool) -> Any:
    """`(images, labels)`, or a dict of such by part; where they may lack labels, images alone."""
    found = _opened(path)
    if isinstance(found, np.ndarray):
        return found
    parts = _by_part(path, found.files, labelled=labelled)
    try:
        read = {
            part: tuple(found[keys[each]] for each in ("images", "labels") if each in keys)
            for part, keys in parts.items()
        }
    except (ValueError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    # Images alone are an array.
    sources = {part: each if len(each) == 2 else each[0] for part, each in read.items()}
    return sources[""] if set(sources) == {""} else sources


def _opened(path: str) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: Exception) -> InputError:
    reason = str(error)
    if "allow_pickle" in reason:
        reason = (
            "it holds Python objects, which are never unpickled: save images as one array of "
            "numbers, and labels as numbers or strings"
        )
    return InputError(f"{path!r} cannot be read as a file of NumPy: {reason}")


def _by_part(path: str, keys: list[str], *, labelled: bool) -> dict[str, dict[str, str]]:
    """Return the keys of images and labels by the part's name, "" where there are no parts."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        kind, part = _meaning(key)
        if kind:
            if kind in found.setdefault(part, {}):
                raise InputError(
                    f"{path!r} has {found[part][kind]!r} and {key!r}, both of them {kind}: keep one"
                )
            found[part][kind] = key
    found = {part: each for part, each in found.items() if "images" in each}
    alone = [each["images"] for each in found.values() if "labels" not in each]
    if not found or ("" in found and len(found) > 1) or (labelled and alone):
        raise InputError(f"{path!r} has the arrays {listed(keys)}; {_EXPECTED}")
    return found


def kind_of(key: Any) -> str:
    """Say what a name says that it is of: "images", "labels", or neither ("")."""
    return _meaning(str(key))[0]


def _meaning(key: str) -> tuple[str, str]:
    """Say what an array is ("images", "labels" or "") and of which part."""
    if key in _UNNAMED:
        return _UNNAMED[key]
    for kind, pattern in (("images", _IMAGES), ("labels", _LABELS)):
        match = pattern.fullmatch(key.casefold())
        if match:
            return kind, match[1] or match[2] or ""
    return "", ""
