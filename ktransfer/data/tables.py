"""Tables of images: a CSV file or a pandas DataFrame with the columns path, label and split."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ktransfer._checks import InputError, near_names
from ktransfer._formulas import name_in
from ktransfer.data.classes import Reading
from ktransfer.data.files import FilesBuilder
from ktransfer.data.images import Skipped, inspect_images
from ktransfer.data.layout import PART_NAMES, Path, missing
from ktransfer.data.parts import listed

if TYPE_CHECKING:
    import pandas as pd

# What pandas reads as a missing value is no class here either.
_NO_LABEL = ("", "nan")
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


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
    """

    where: str
    folder: str
    rows: list[Row] = field(default_factory=list)
    faults: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, place: str, path: str, label: str | None, part: str | None) -> None:
        """Adds a row; one that cannot be used to the faults.

        Args:
            place: of the row.
            path: as it stands there.
            label: the class name; "" where it is missing, None where there is no such column.
            part: what `split` says; None where there is no such column.
        """
        whole = os.path.join(self.folder, path)
        label = name_in(label.strip()) if label is not None else None
        known = PART_NAMES.get(part.strip().casefold()) if part is not None else ""
        fault = None
        if not path:
            fault = "has no path"
        elif label is not None and label.casefold() in _NO_LABEL:
            fault = "has no label"
        elif known is None:
            expected = listed(sorted(PART_NAMES))
            fault = f"has the split {part!r}, expected one of {expected}"
        # lexists: a dangling link does exist, and is reported as what it is.
        elif not os.path.lexists(whole):
            fault = "names a file that does not exist"
        if fault:
            self.faults.setdefault(fault, []).append((place, whole))
        else:
            self.rows.append(Row(place, whole, label or "", known or ""))

    def named(self, class_names: Sequence[str] | None) -> Table:
        """The table with names for labels that are positions in given class names.

        Raises:
            InputError: a position is out of range.
        """
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
        """Raises an `InputError` that names the first row that cannot be used, and how many.

        Args:
            needs_train: whether a table with parts must have train.
        """
        for fault, rows in self.faults.items():
            place, path = rows[0]
            more = f"; so do {len(rows) - 1:,} further rows" if len(rows) > 2 else ""
            more = "; so does 1 further row" if len(rows) == 2 else more
            raise InputError(f"{self.where}: {place} {fault}: {path!r}{more}")
        if needs_train and all(row.part not in ("", "train") for row in self.rows):
            found = listed(sorted({row.part for row in self.rows}))
            raise InputError(f"{self.where} has the splits {found} but no row of train")


def read_table(data: Path | pd.DataFrame, *, labelled: bool = True) -> Table:
    """Reads the rows of a table; no image is looked at.

    Args:
        data: a CSV file (comma, semicolon or tab; UTF-8 or UTF-16, with or without a byte order
            mark; bytes that are not UTF-8 are kept), whose paths start from its own folder, or a
            DataFrame, whose paths start from the working directory.
        labelled: whether the column `label` must be there; without it, it and `split` are not read.

    Raises:
        InputError: the file does not exist or is no CSV, has no rows, or a column is missing.
    """
    if isinstance(data, str | bytes | os.PathLike):
        path = os.fsdecode(data)
        table, records = Table(repr(path), os.path.dirname(path)), _csv_records(path)
    else:
        table, records = Table("the DataFrame", ""), _frame_records(data)
    _, header = next(records, ("", []))
    columns = _columns(table.where, header, ("path", "label") if labelled else ("path",))
    if not labelled:
        columns = {"path": columns["path"]}
    for place, values in records:
        if not any(values):
            continue
        row = {name: values[at] if at < len(values) else "" for name, at in columns.items()}
        table.add(place, row["path"], row.get("label"), row.get("split"))
    if not table.rows and not table.faults:
        raise InputError(f"{table.where} is empty: it has no row below its header")
    return table


def readings(table: Table) -> dict[str, Reading]:
    """The images of a table's rows by part and class, inspected; "train" where it has no parts."""
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


def _columns(where: str, header: Iterable[str], needed: Iterable[str]) -> dict[str, int]:
    names = [each.strip().casefold() for each in header]
    if not names:
        raise InputError(
            f"{where} is empty: expected a header with the columns path, label[, split]"
        )
    for each in needed:
        if each not in names:
            near = near_names(each, [name for name in names if name], count=1)
            hint = f"; rename {near[0]!r}?" if near else ""
            raise InputError(
                f"{where} has no column {each!r}: it has {listed(names)}, expected "
                f"path, label[, split]{hint}"
            )
    return {each: names.index(each) for each in ("path", "label", "split") if each in names}


def _csv_records(path: str) -> Iterator[tuple[str, list[str]]]:
    """The place and the values of each record, the header first."""
    if not os.path.lexists(path):
        raise missing("file", path)
    if not os.path.isfile(path):
        raise InputError(f"{path!r} is no file that can be read as CSV")
    try:
        # Paths keep the very bytes that the system knows them by.
        with open(path, encoding=_encoding(path), errors="surrogateescape", newline="") as stream:
            header = stream.readline()
            stream.seek(0)
            reader = csv.reader(stream, delimiter=_delimiter(header), strict=True)
            before = 0
            for values in reader:
                # A quoted name may hold line ends: a record begins behind the one before it.
                yield f"line {before + 1}", values
                before = reader.line_num
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path!r} cannot be read as CSV: {error}") from error


def _encoding(path: str) -> str:
    with open(path, "rb") as stream:
        return _BYTE_ORDER_MARKS.get(stream.read(2), "utf-8-sig")


def _delimiter(header: str) -> str:
    """Of the usual ones that which the header has most of: spreadsheets write semicolons, too."""
    return max(",;\t", key=header.count)


def _frame_records(frame: Any) -> Iterator[tuple[str, list[str]]]:
    import pandas as pd

    yield "the header", [str(each) for each in frame.columns]
    for number, values in enumerate(frame.itertuples(index=False, name=None)):
        yield f"row {number}", ["" if _is_missing(pd, each) else _text(each) for each in values]


def _is_missing(pandas: Any, value: Any) -> bool:
    return value is None or (pandas.api.types.is_scalar(value) and bool(pandas.isna(value)))


def _text(value: Any) -> str:
    # A column of whole numbers with a gap in it becomes floats in pandas.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return os.fsdecode(value) if isinstance(value, bytes | os.PathLike) else str(value)
