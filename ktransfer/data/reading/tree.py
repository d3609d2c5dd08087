"""Which folders below a folder hold images: looked at once, and no further than is needed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection

from ktransfer.data.images.header import EXTENSIONS, Skipped, inspect_image
from ktransfer.data.reading.walking import files_below, is_folder, list_folder, subfolders

_IMAGE_EXTENSIONS = {f".{each}" for several in EXTENSIONS.values() for each in several}
# Where people put what has no class yet.
_UNLABELLED = re.compile(
    r"(?:no|without)[\W_]*labels?|un[\W_]*label+ed(?:[\W_]*(?:data|images))?", re.IGNORECASE
)


class Tree:
    """Folders of images, each looked at once.

    Args:
        wanted: the classes that were asked for; empty: any.
    """

    def __init__(self, wanted: Collection[str] = ()) -> None:
        self.wanted = frozenset(wanted)
        self._filled: dict[str, bool] = {}
        self._folders: dict[str, list[str]] = {}

    def folders(self, folder: str) -> list[str]:
        """Return the folders in a folder that may be classes or parts, sorted."""
        if folder not in self._folders:
            self._folders[folder] = [e for e in subfolders(folder) if not self.is_unlabelled(e)]
        return self._folders[folder]

    def filled(self, folder: str) -> list[str]:
        """Return those of `folders` that have an image, however deep."""
        return [each for each in self.folders(folder) if self.has_images(each)]

    def has_images(self, folder: str) -> bool:
        """Tell whether there is an image below a folder, or a file that claims to be one."""
        if folder not in self._filled:
            self._filled[folder] = any(map(_is_image, files_below(folder)))
        return self._filled[folder]

    def has_own_images(self, folder: str) -> bool:
        """Tell whether there is an image in the folder itself."""
        return any(_is_image(each) for each in list_folder(folder, []) if not is_folder(each))

    def is_unlabelled(self, folder: str) -> bool:
        """Tell whether a folder says by its name that what is in it has no class."""
        name = os.path.basename(folder)
        return name not in self.wanted and _UNLABELLED.fullmatch(name) is not None


def _is_image(path: str) -> bool:
    if os.path.splitext(path)[1].casefold() in _IMAGE_EXTENSIONS:
        return True
    return not isinstance(inspect_image(path), Skipped)


def base_names(paths: Collection[str]) -> list[str]:
    """Return the last name of each path."""
    return [os.path.basename(each) for each in paths]
