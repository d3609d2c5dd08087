"""Paths of images: a folder, and a file by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

from ktransfer.data.parts import Splits, listed
from ktransfer.data.reading.arranging import arranged
from ktransfer.data.reading.classes import LAYOUT, read_classes
from ktransfer.data.reading.foreign import what_to_give
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.layout import missing, not_a_folder
from ktransfer.data.reading.listing import Listing, listing_of_folder
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.reading.paths import read_paths
from ktransfer.data.reading.tree import Tree
from ktransfer.data.sources.source import Chosen, ListedSource, Names, Options, Source, Unlabelled
from ktransfer.errors import InputError


class Folder(ListedSource):
    """A folder of class folders, perhaps by part; or of images, to predict on."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is the path of a folder."""
        return is_path(data) and os.path.isdir(os.fsdecode(data))

    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """As of every source."""
        listing = listing_of_folder(self.path, class_names)
        listing.check()
        if "train" not in listing.parts:
            found = listed([os.path.basename(each.folder) for each in listing.parts.values()])
            raise InputError(f"{self.path!r} has {found} but no train folder; {LAYOUT}")
        folder = listing.parts["train"].folder
        divided = part_of(os.path.basename(folder)) and folder != self.path
        name = f"{os.path.basename(folder)!r} (no val folder)" if divided else "the class folders"
        return self.splits(listing, name, class_names, options)

    def chosen(self, class_names: Names | None, options: Options) -> Chosen:
        """As of every source of files."""
        found = arranged(self.path, class_names)
        found.check()
        if not found.parts:
            return Chosen(None, read_classes(found.classes), found.notes)
        for name in options.preferred:
            if name in found.parts:
                return Chosen(name, read_classes(found.parts[name][0]), found.notes)
        expected = listed(options.preferred)
        raise InputError(
            f"{self.path!r} has the parts {listed(list(found.parts))}, expected {expected}"
        )

    def read_images(self, options: Options) -> Unlabelled:
        """Return all images below it."""
        return read_paths(self.path)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Tell whether the folders in it can be read as classes, in one way."""
        if not of_run:
            arranged(self.path, class_names).check()

    def is_empty(self) -> bool:
        """Tell whether there is no image below it."""
        return not Tree().has_images(self.path)

    def listing(self, class_names: Sequence[str] | None = None) -> Listing:
        """Return its classes, faults and all."""
        return listing_of_folder(self.path, class_names)


class SingleFile(Source):
    """One image to predict on, without a label; it may as well not be there."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is a path."""
        return is_path(data)

    def read_data(self, *_: Any, **__: Any) -> NoReturn:
        """Raise an `InputError`: it has no labels."""
        if os.path.lexists(self.path):
            if how := what_to_give(self.path):
                raise InputError(f"{self.path!r} is {how}; {LAYOUT}")
            raise InputError(
                f"{self.path!r} is neither a folder nor a .csv file with the columns path, label"
                f"[, split], nor a .npz file; {LAYOUT}"
            )
        raise missing("folder", self.path)

    read_train = read_labelled = read_data

    def read_images(self, options: Options) -> Unlabelled:
        """Return the image."""
        return read_paths(self.path)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Raise an `InputError`: it has no labels."""
        self.read_data()

    def listing(self, class_names: Sequence[str] | None = None) -> NoReturn:
        """Raise an `InputError`: it is no folder."""
        raise not_a_folder(self.path)
