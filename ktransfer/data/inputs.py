"""What a command reads is never what it writes: which files a source of images is made of."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from ktransfer.data.images.sniffing import NO_IMAGE, describe_content
from ktransfer.data.reading.walking import walk
from ktransfer.data.sources.front import source_of
from ktransfer.data.sources.images import Images
from ktransfer.errors import InputError

_DRAWING = "SVG image"  # which no source reads, and which the library draws its pictures as


def check_not_read(
    target: str | os.PathLike[str], what: str, *images: Any, models: Iterable[str] = ()
) -> None:
    """Raise an `InputError` if a file to be written is one that is read.

    It is one under every name that leads to it: another spelling of its path, a link, a second
    name of the same file. What is not there yet costs nothing, be the sources ever so large.

    Args:
        target: what is to be written.
        what: what it is called in messages, such as `"--csv"`.
        *images: sources as `read_data` and `read_images` take them; what has no files is passed
            over. In a folder of images, what is no image is not read.
        models: runs, files of models and of weights: all that lies there is read.
    """
    try:
        state = os.stat(target)
    except OSError:  # nothing there, or a link to nothing
        return
    folders = []
    for path in itertools.chain(Images(images, source_of).files(), *map(_whole, models)):
        if os.path.isdir(path):
            folders.append(path)
        elif _is_same(path, state):
            _refuse(target, what, path)
    for path in itertools.chain.from_iterable(walk(each).files for each in folders):
        if _is_same(path, state) and _is_image(path):
            _refuse(target, what, path)


def _refuse(target: str | os.PathLike[str], what: str, path: str) -> NoReturn:
    raise InputError(
        f"{what} {os.fsdecode(target)!r} is {path!r}, which is read here and never replaced; name "
        "another file"
    )


def _whole(path: str) -> Iterator[str]:
    """Yield a file, or all files of a folder."""
    if not os.path.isdir(path):
        yield path
    for folder, _, names in os.walk(path):
        yield from (os.path.join(folder, each) for each in names)


def _is_same(path: str, state: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), state)
    except OSError:
        return False


def _is_image(path: str) -> bool:
    """Tell whether it may be an image; of what cannot be told it is taken to be one."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(512)
    except OSError:
        return True
    kind = describe_content(path, start, len(start))
    return not (kind.startswith(NO_IMAGE) or _DRAWING in kind)
