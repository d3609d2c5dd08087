"""Tables of images: a CSV file or a pandas DataFrame with the columns path, label and split."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ktransfer.data.images.files import FilesBuilder
from ktransfer.data.images.header import Skipped, inspect_images
from ktransfer.data.parts import listed
from ktransfer.data.reading.classes import Reading
from ktransfer.data.reading.columns import Columns, find_columns
from ktransfer.data.reading.csv_file import Record, csv_records, decoded
from ktransfer.data.reading.layout import Path
from ktransfer.data.reading.locating import Locator
from ktransfer.data.reading.odd_labels import NO_LABEL, whole_numbers
from ktransfer.data.reading.part_names import PART_NAMES, name_and_part, part_of
from ktransfer.errors import InputError
from ktransfer.files.formulas import name_in

if TYPE_CHECKING:
    import pandas as pd


class Row(NamedTuple):
    """One image of a table.

    Attributes:
        place: "line 7" of a file, "row 5" of a DataFrame (from 0).
        path: absolute, or from the working directory.
        label: the class name; "" where there is none.
        part: "train", "validation", "test"; "" where the table has no such column.
    """

    place: str
    path: str
    label: str
    part: str


@dataclass
class Table:
    """What a table holds.

    Attributes:
        where: the file's path in quotes, or "the DataFrame".
        folder: where relative paths start.
        rows: its usable rows, in order.
        faults: the rows that are not, by kind of fault, each with its place and path.
        remarks: how it was read, where that is not plain.
        unlabelled: how many rows of test have no label, which is no fault.
        blanks: the labels that had blanks around them.
        recoded: whether a label was not UTF-8.
        is_file: whether it is a CSV file, and no DataFrame.
    """

    where: str
    folder: str
    rows: list[Row] = field(default_factory=list)
    faults: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unlabelled: int = 0
    blanks: set[str] = field(default_factory=set)
    recoded: bool = False
    is_file: bool = True

    def add(self, place: str, cells: Sequence[str], columns: Columns, locator: Locator) -> None:
        """Add a row; one that cannot be used to the faults.

        Args:
            place: of the row.
            cells: as they stand there.
            columns: what each of them is.
            locator: finds its file.
        """
        path, label, part = (
            columns.path_of(cells),
            columns.label_of(cells),
            columns.split_of(cells),
        )
        text = name_in(decoded(label).strip()) if label is not None else None
        known = part_of(part) if part is not None else ""
        unlabelled = text is not None and text.casefold() in NO_LABEL
        whole, fault = os.path.join(self.folder, path), None
        if columns.surplus(cells):
            fault = (
                f"has {len(cells)} cells, but the header has {columns.width}: put what holds the "
                "separator between quotes"
            )
        elif not path.strip():
            fault = "has no path"
        elif unlabelled and known == "test":
            self.unlabelled += 1
            return
        elif unlabelled:
            fault = columns.no_label
        elif known is None:
            fault = f"has the split {part!r}, expected {columns.known_splits}"
        else:
            whole, fault = locator.find(path)
        if fault:
            self.faults.setdefault(fault, []).append((place, whole))
            return
        if text != label and label is not None and label != label.strip():
            self.blanks.add(label)
        self.recoded = self.recoded or (label is not None and decoded(label) != label)
        self.rows.append(Row(place, whole, text or "", known or ""))

    def notes(self) -> tuple[str, ...]:
        """Whatever is not plain about how it was read."""
        found = list(self.remarks)
        if self.recoded:
            found.append(f"labels of {self.where} are not UTF-8: read as Windows text (cp1252)")
        if self.blanks:
            shown = listed(sorted(self.blanks))
            found.append(f"blanks around labels of {self.where} are left out: {shown}")
        if self.unlabelled:
            found.append(
                f"{self.unlabelled:,} row{'s' if self.unlabelled > 1 else ''} of {self.where} for "
                "test without a label: not used"
            )
        return tuple(found)

    def with_whole_numbers(self) -> Table:
        """Return the table with the label 1 for 1.0, as `whole_numbers` says."""
        numbers = whole_numbers({row.label for row in self.rows if row.label})
        changed = sorted(label for label, number in numbers.items() if label != number)
        if not changed:
            return self
        read_as = listed([numbers[each] for each in changed], 3)
        note = (
            f"labels of {self.where} are whole numbers: {listed(changed, 3)} are read as {read_as}"
        )
        rows = [row._replace(label=numbers.get(row.label, "")) for row in self.rows]
        return replace(self, rows=rows, remarks=[*self.remarks, note])

    def named(self, class_names: Sequence[str] | None) -> Table:
        """Return the table with names for labels that are positions in given class names.

        Raises:
            InputError: a position is out of range.
        """
        # A model may have been trained when 1.0 was still a class of that name.
        if class_names and {f"{row.label}.0" for row in self.rows} <= set(class_names):
            return replace(self, rows=[row._replace(label=f"{row.label}.0") for row in self.rows])
        if not class_names or not all(row.label.isdecimal() for row in self.rows):
            return self
        if any(row.label in class_names for row in self.rows):
            return self
        for row in self.rows:
            if int(row.label) >= len(class_names):
                raise InputError(
                    f"{self.where}: {row.place} has the label {row.label}, outside the class range "
                    f"0 to {len(class_names) - 1} of the {len(class_names)} class names"
                )
        rows = [row._replace(label=class_names[int(row.label)]) for row in self.rows]
        return replace(self, rows=rows)

    def check(self, *, needs_train: bool = True) -> None:
        """Raise an `InputError` that names the first row that cannot be used, and how many.

        Args:
            needs_train: whether a table with parts must have train.
        """
        for fault, rows in self.faults.items():
            place, path = rows[0]
            more = f"; so do {len(rows) - 1:,} further rows" if len(rows) > 2 else ""
            more = "; so does 1 further row" if len(rows) == 2 else more
            raise InputError(f"{self.where}: {place} {fault}: {path!r}{more}{self._mend(fault)}")
        if needs_train and all(row.part not in ("", "train") for row in self.rows):
            found = listed(sorted({row.part for row in self.rows}))
            raise InputError(f"{self.where} has the splits {found} but no row of train")

    def _mend(self, fault: str) -> str:
        """Say what to do about rows without a label; other faults say it themselves."""
        if fault != "has no label":
            return ""
        gaps = " (pandas reads NA, None and null as gaps, too, unless keep_default_na=False)"
        return f"; leave such rows out{'' if self.is_file else gaps}"


def read_table(data: Path | pd.DataFrame, *, labelled: bool = True) -> Table:
    """Read the rows of a table; no image is looked at.

    Args:
        data: a CSV file (see `csv_records`), whose paths start from its own folder, or a DataFrame,
            whose paths start from the working directory. A path at which there is nothing is looked
            for as `Locator` does, and columns go by the names that people give them
            (`find_columns`); both are noted.
        labelled: whether there must be labels; without it neither they nor parts are read.

    Raises:
        InputError: the file does not exist or is no CSV, has no rows, or a column is missing.
    """
    if isinstance(data, str | bytes | os.PathLike):
        path = os.fsdecode(data)
        table, records = Table(repr(path), os.path.dirname(path)), csv_records(path)
        part = name_and_part(os.path.splitext(os.path.basename(path))[0])[1]
    else:
        table, part = Table("the DataFrame", "", is_file=False), None
        records = _frame_records(data)
    (_, header), *rows = [*records] or [("", [])]
    if header and not rows:
        raise InputError(f"{table.where} is empty: it has no row below its header")
    columns = find_columns(
        table.where,
        [decoded(each).strip() for each in header],
        [cells for _, cells in rows],
        labelled=labelled,
    )
    locator = Locator(table.folder, part)
    for place, cells in rows:
        table.add(place, cells, columns, locator)
    table.remarks += [*columns.notes, *locator.notes(table.where)]
    return table.with_whole_numbers()


def readings(table: Table) -> dict[str, Reading]:
    """Return the images of a table's rows by part and class, inspected.

    "train" where it has no parts.
    """
    parts = {row.part or "train" for row in table.rows} or {"train"}
    found = {name: _Sorter(table) for name in dict.fromkeys(PART_NAMES.values()) if name in parts}
    for row, image in zip(
        table.rows, inspect_images(each.path for each in table.rows), strict=True
    ):
        sorter = found[row.part or "train"]
        files = sorter.by_class.setdefault(row.label, FilesBuilder())
        if isinstance(image, Skipped):
            sorter.skipped.append(image)
        else:
            files.add(image)
    return {name: sorter.reading() for name, sorter in found.items()}


class _Sorter:
    """Sorts images into classes as they come."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.by_class: dict[str, FilesBuilder] = {}
        self.skipped: list[Skipped] = []

    def reading(self) -> Reading:
        by_class = {name: files.build() for name, files in sorted(self.by_class.items())}
        return Reading(self.table.folder, by_class, self.skipped, self.table.where)


def _frame_records(frame: Any) -> Iterator[Record]:
    import pandas as pd

    yield "the header", [str(each) for each in frame.columns]
    # A column of whole numbers with a gap in it becomes floats in pandas.
    whole = [all(map(_is_whole, column)) for _, column in frame.items()]
    for number, values in enumerate(frame.itertuples(index=False, name=None)):
        pairs = zip(values, whole, strict=True)
        cells = ["" if _is_missing(pd, each) else _text(each, ids) for each, ids in pairs]
        if any(cells):
            yield f"row {number}", cells


def _is_missing(pandas: Any, value: Any) -> bool:
    return value is None or (pandas.api.types.is_scalar(value) and bool(pandas.isna(value)))


def _is_whole(value: Any) -> bool:
    """Tell whether it is no fraction; a gap is none, either."""
    return not isinstance(value, float | np.floating) or value.is_integer() or value != value


def _text(value: Any, whole: bool) -> str:
    if whole and isinstance(value, float | np.floating):
        return str(int(value))
    return os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else str(value)
