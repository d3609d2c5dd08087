"""A path at which there is neither a folder nor a file that holds several images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NoReturn

from ktransfer.data.reading.classes import LAYOUT
from ktransfer.data.reading.folder import read_paths
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.layout import missing, not_a_folder
from ktransfer.data.sources.source import Options, Source, Unlabelled
from ktransfer.errors import InputError


class SingleFile(Source):
    """One image to predict on, without a label; it may as well not be there."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Whether it is a path."""
        return is_path(data)

    def read_data(self, *_: Any, **__: Any) -> NoReturn:
        """Raises an `InputError`: it has no labels."""
        if os.path.lexists(self.path):
            raise InputError(
                f"{self.path!r} is neither a folder nor a .csv file with the columns path, label"
                f"[, split], nor a .npz file; {LAYOUT}"
            )
        raise missing("folder", self.path)

    read_train = read_labelled = read_data

    def read_images(self, options: Options) -> Unlabelled:
        """The image."""
        return read_paths(self.path)

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Raises an `InputError`: it has no labels."""
        self.read_data()

    def listing(self) -> NoReturn:
        """Raises an `InputError`: it is no folder."""
        raise not_a_folder(self.path)
