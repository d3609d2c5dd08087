"""The lines of a CSV file as spreadsheets, pandas and people write them."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from ktransfer.data.reading.columns import roles_named
from ktransfer.data.reading.layout import missing
from ktransfer.errors import InputError

Record = tuple[str, list[str]]

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# What Excel writes before the header so as to know its own file again.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def csv_records(path: str) -> Iterator[Record]:
    """Yield the place and the cells of each record that has any, the header first.

    Separated by commas, semicolons, tabs or bars; UTF-8 or UTF-16, with or without a byte order
    mark. Bytes that are not UTF-8 are kept as surrogate escapes. Blank lines and comments, which
    begin with #, are read past above the header.

    Raises:
        InputError: the file does not exist or is no CSV.
    """
    if not os.path.lexists(path):
        raise missing("file", path)
    if not os.path.isfile(path):
        raise InputError(f"{path!r} is no file that can be read as CSV")
    try:
        # Paths keep the very bytes that the system knows them by.
        with open(path, encoding=_encoding(path), errors="surrogateescape", newline="") as stream:
            yield from _records(stream)
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path!r} cannot be read as CSV: {error}") from error


def _records(stream: TextIO) -> Iterator[Record]:
    leading, delimiter = list[str](), None
    for line in stream:
        leading.append(line)
        separator = _SEPARATOR_LINE.fullmatch(line)
        if separator:
            delimiter = separator.group(1)
        elif line.strip() and not line.startswith("#"):
            break
    skipped = before = _place_of_header(leading, delimiter)
    chosen = delimiter or _delimiter("".join(leading[skipped : skipped + 1]))
    of_record: list[str] = []
    lines = _noting(itertools.chain(leading[skipped:], stream), of_record)
    reader = csv.reader(lines, delimiter=chosen, strict=True, skipinitialspace=chosen != " ")
    try:
        for values in reader:
            of_record.clear()
            # A quoted name may hold line ends: a record begins behind the one before it.
            if any(values):
                yield f"line {before + 1}", values
            before = skipped + reader.line_num
    except csv.Error as error:
        raise csv.Error(_fault_in_words(error, of_record, chosen, before)) from error


def _place_of_header(leading: Sequence[str], delimiter: str | None) -> int:
    """Say which of the first lines is the header: the last, or a comment that names its columns."""
    cells = [next(csv.reader([e], delimiter=delimiter or _delimiter(e)), []) for e in leading]
    last = max(0, len(leading) - 1)
    if leading and not roles_named(cells[last]):
        for at in reversed(range(last)):
            if "path" in roles_named(cells[at]) and 1 < len(cells[at]) == len(cells[last]):
                return at
    return last


def _noting(lines: Iterable[str], read: list[str]) -> Iterator[str]:
    for line in lines:
        read.append(line)
        yield line


def _fault_in_words(error: csv.Error, lines: Sequence[str], delimiter: str, before: int) -> str:
    """Say what is wrong with a record of these lines, which begin behind so many others."""
    opened, end = _last_quote(lines, delimiter), before + len(lines)
    if opened is None:
        return f"line {end}: {error}"
    place = f"the quote that opens in line {before + 1 + opened}"
    mend = "close it where its cell ends, and write quotes inside of a cell twice"
    if "expected after" in str(error):
        return f"{place} closes in line {end} before other text: {mend}"
    if "limit" in str(error):
        return f"{place} is still open {csv.field_size_limit():,} characters later: {mend}"
    return f"{place} is never closed: {mend}"


def _last_quote(lines: Sequence[str], delimiter: str) -> int | None:
    """Return the line in which the last quoted cell of a record begins; None if there is none."""
    opened, begins, quoted, closed = None, True, False, False
    for at, line in enumerate(lines):
        for each in line:
            if each == '"' and (begins or quoted or closed):
                # Behind one that closes, it is a quote inside of the cell, and the cell goes on.
                opened = at if begins else opened
                begins, quoted, closed = False, not quoted, quoted
            elif not quoted:
                begins, closed = each == delimiter or (begins and each == " "), False
    return opened


def _encoding(path: str) -> str:
    with open(path, "rb") as stream:
        start = stream.read(256)
    if start[:2] in _BYTE_ORDER_MARKS:
        return _BYTE_ORDER_MARKS[start[:2]]
    # Without a mark: every second byte of plain letters is zero.
    if len(start) > 3 and b"\0" in start:
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    return "utf-8-sig"


def _delimiter(header: str) -> str:
    """Of the usual ones that which the header has most of: spreadsheets write semicolons, too."""
    outside = re.sub(r'"[^"]*"', "", header)
    return max(",;\t|", key=outside.count)


def decoded(text: str) -> str:
    """Text whose bytes were not UTF-8, as Windows writes it; other text as it is."""
    if text.isascii() or not any("\udc80" <= each <= "\udcff" for each in text):
        return text
    content = text.encode("utf-8", "surrogateescape")
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")
