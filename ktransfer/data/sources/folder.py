"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ktransfer.data.parts import Splits
from ktransfer.data.reading.arranging import arranged
from ktransfer.data.reading.folder import Chosen, chosen_folder, read_folder, read_paths
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.listing import Listing, listing_of_folder
from ktransfer.data.sources.source import ListedSource, Names, Options, Unlabelled


class Folder(ListedSource):
    """A folder of class folders, perhaps by part; or of images, to predict on."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Whether it is the path of a folder."""
        return is_path(data) and os.path.isdir(os.fsdecode(data))

    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """As `read_folder`."""
        return read_folder(
            self.path,
            validation_fraction=options.validation_fraction,
            seed=options.seed,
            class_names=class_names,
        )

    def chosen(self, class_names: Names | None, options: Options) -> Chosen:
        """As of every source of files."""
        return chosen_folder(self.path, class_names, options.preferred)

    def read_images(self, options: Options) -> Unlabelled:
        """All images below it."""
        return read_paths(self.path)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Whether the folders in it can be read as classes, in one way."""
        if not of_run:
            arranged(self.path, class_names).check()

    def listing(self) -> Listing:
        """Its classes, faults and all."""
        return listing_of_folder(self.path)
