"""What a folder or a table of images holds, faults and all: nothing is refused for its content.

A *manifest* is a CSV file with the columns `path`, `label` and, where there are parts, `split`:

    path,label,split
    photos/ants/1.jpg,ants,train
    photos/bees/7.jpg,bees,validation

Paths are absolute or start from the manifest's own folder; `split` is train, validation or test, or
any other name that a part's folder may have. It is written as UTF-8, with undecodable bytes of file
names as they are (`errors="surrogateescape"`), and quoted as the `csv` module quotes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import listed
from ktransfer.data.reading.arrangement import Arrangement, ClassFolders
from ktransfer.data.reading.arranging import arranged
from ktransfer.data.reading.classes import Reading, read_classes
from ktransfer.data.reading.tables import Table, readings
from ktransfer.data.reading.walking import list_folder
from ktransfer.errors import InputError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Listing:
    """What was found, to be checked or reported on.

    Attributes:
        root: the folder, or the folder that a table's paths start from.
        parts: by the part's name, "train" alone where there are no parts.
        skipped: what belongs to no part, each with its reason.
        notes: whatever is not plain about how it was read.
        fault: why it should not be read so, as it can be read in another way; None: nothing.
    """

    root: str
    parts: dict[str, Reading]
    skipped: list[Skipped]
    notes: tuple[str, ...] = ()
    fault: str | None = None

    def check(self) -> None:
        """Raise an `InputError` where there is a fault."""
        if self.fault:
            raise InputError(self.fault)


def listing_of_folder(root: str, class_names: Sequence[str] | None = None) -> Listing:
    """Return the listing of a folder that exists.

    Args:
        root: the folder.
        class_names: the classes that are to be found, where they are known.
    """
    found = arranged(root, class_names)
    folders = found.parts or {"train": [found.classes]}
    parts = {name: _as_one([read_classes(each) for each in folders[name]]) for name in folders}
    skipped = [*found.skipped, *_outside(found)]
    return Listing(root, parts, skipped, found.notes, found.fault)


def _outside(found: Arrangement) -> list[Skipped]:
    """Say what lies beside the folders of the parts, and is not read."""
    if not found.parts:
        return []
    skipped: list[Skipped] = []
    told = {each.path for each in found.skipped}
    places = [at for each in found.parts.values() for part in each for at in _places(part)]
    # Of a million entries, each is looked up and not compared with every folder.
    read = {os.path.relpath(each, found.folder).split(os.sep)[0] for each in places}
    reason = "lies outside the folders " + listed(list(found.parts))
    entries = [e for e in list_folder(found.folder, skipped) if os.path.basename(e) not in read]
    return skipped + [Skipped(each, reason) for each in entries if each not in told]


def _places(part: ClassFolders) -> list[str]:
    inside = [folder for several in part.classes.values() for folder in several]
    return inside or [part.folder]


def listing_of_table(table: Table) -> Listing:
    """Return the listing of a table; rows that cannot be used are skipped."""
    skipped = [
        Skipped(path, f"{place} {fault}")
        for fault, rows in table.faults.items()
        for place, path in rows
    ]
    return Listing(table.folder, readings(table), skipped, table.notes())


def _as_one(several: list[Reading]) -> Reading:
    """Return the classes of all, in the folder of the first."""
    first, *others = several
    for each in others:
        by_class = dict(first.by_class)
        for name, files in each.by_class.items():
            by_class[name] = by_class[name] + files if name in by_class else files
        first = replace(
            first,
            by_class=by_class,
            skipped=first.skipped + each.skipped,
            places={**each.places, **first.places},
        )
    return first
