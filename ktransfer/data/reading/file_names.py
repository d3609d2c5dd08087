"""Classes that stand in the names of files and in no folder: cat_1.jpg, dog (2).jpg, 7-cat.jpg."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

from ktransfer.data.images.header import EXTENSIONS
from ktransfer.data.parts import listed
from ktransfer.data.reading.walking import is_folder, list_folder

_IMAGES = {f".{each}" for several in EXTENSIONS.values() for each in several}
#: More are names of things, and not of classes.
_MOST = 200
# What stands around the class; each as it is told, to be run by whoever reads it.
_AROUND = (r"[\W_]*\d+[\W_]*$", r"^[\W_]*\d+[\W_]*")
# What cameras and programs call every image.
_OF_CAMERAS = frozenset(
    (
        *("img", "image", "dsc", "dscn", "dscf", "dcim", "mvi", "pxl", "photo", "pic", "picture"),
        *("frame", "file", "scan", "screenshot", "train", "val", "test"),
    )
)


def classes_in_names(folder: str) -> tuple[list[str], str]:
    """Say what nearly all images in a folder are called but for a number, and how to list them.

    Returns:
        The likely classes, sorted, and a hint for a message; none and "" where names tell nothing.
    """
    files = [each for each in list_folder(folder, []) if _is_image_by_name(each)]
    stems = [os.path.splitext(os.path.basename(each))[0] for each in files]
    for around in _AROUND:
        found = Counter(name for stem in stems if (name := _without_number(stem, around)))
        known = {name.casefold() for name in found} <= _OF_CAMERAS
        nearly_all = 10 * found.total() >= 9 * len(stems)
        # A class has several images: a1.jpg, b1.jpg and c1.jpg name nothing.
        if nearly_all and not known and 2 <= len(found) <= min(_MOST, found.total() / 2):
            names = sorted(found)
            begin = "begin" if around is _AROUND[0] else "end"
            return names, _hint(folder, files, names, begin, around)
    return [], ""


def _is_image_by_name(path: str) -> bool:
    return os.path.splitext(path)[1].casefold() in _IMAGES and not is_folder(path)


def _without_number(stem: str, around: str) -> str:
    """Return a name without its number; "" where it has none, a second one, or nothing else."""
    name, count = re.subn(around, "", stem, count=1)
    return name if count and not re.search(r"\d", name) and re.search(r"[^\W_]{2}", name) else ""


def _hint(folder: str, files: Sequence[str], names: Sequence[str], begin: str, around: str) -> str:
    extensions = {os.path.splitext(each)[1] for each in files}
    pattern = f"*{extensions.pop()}" if len(extensions) == 1 else "*.*"
    return (
        f"the names of the files {begin} with {listed(names)}: if these are the classes, list them "
        f"in a table, frame = pandas.DataFrame({{'path': sorted(pathlib.Path({folder!r})"
        f".glob({pattern!r}))}}); frame['label'] = [re.sub(r'{around}', '', each.stem) for each in "
        "frame['path']], and give the frame, or the file of frame.to_csv('labels.csv', index=False)"
    )
