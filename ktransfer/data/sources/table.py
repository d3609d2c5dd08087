"""A table that names images and their classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ktransfer.data.parts import Splits
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.layout import is_table
from ktransfer.data.reading.listing import Listing, listing_of_table
from ktransfer.data.reading.paths import read_paths
from ktransfer.data.reading.tables import read_table, readings
from ktransfer.data.sources.source import Chosen, ListedSource, Names, Options, Unlabelled


class Table(ListedSource):
    """A CSV file or a DataFrame with the columns path, label and perhaps split."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is a frame, or a path with the extension of a table."""
        if is_path(data):
            return is_table(os.fsdecode(data))
        return hasattr(data, "columns") and hasattr(data, "itertuples")

    def read_data(self, class_names: Names | None, options: Options) -> Splits:
        """As of every source."""
        table = read_table(self.data)
        table.check()
        listing = listing_of_table(table.named(class_names))
        return self.splits(listing, table.where, class_names, options)

    def chosen(self, class_names: Names | None, options: Options) -> Chosen:
        """As of every source of files."""
        table = read_table(self.data)
        table.check(needs_train=options.preferred == ("train",))
        table = table.named(class_names)
        parts = {row.part for row in table.rows}
        part = next((each for each in options.preferred if each in parts), None)
        table.rows = [row for row in table.rows if row.part == (part or "")]
        return Chosen(part, readings(table)[part or "train"], table.notes())

    def read_images(self, options: Options) -> Unlabelled:
        """Return the images of all rows."""
        if is_path(self.data):
            return read_paths(self.path)
        table = read_table(self.data, labelled=False)
        table.check()
        return read_paths([row.path for row in table.rows])

    def check(self, class_names: Sequence[str] | None, *, of_run: bool = False) -> None:
        """Tell whether each of its rows names a file."""
        read_table(self.data).check(needs_train=False)

    def listing(self, class_names: Sequence[str] | None = None) -> Listing:
        """Return its rows, faults and all."""
        return listing_of_table(read_table(self.data).named(class_names))

    def files(self) -> Iterator[str]:
        """Itself, and the images that it names."""
        yield from super().files()
        if not is_path(self.data) or os.path.isfile(self.path):
            yield from (row.path for row in read_table(self.data, labelled=False).rows)
