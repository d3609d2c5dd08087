"""The lines of a CSV file as spreadsheets, pandas and people write them."""

from __future__ import annotations

import csv
import itertools
import os
import re
from collections.abc import Iterator
from typing import TextIO

from ktransfer.data.reading.layout import missing
from ktransfer.errors import InputError

Record = tuple[str, list[str]]

_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# What Excel writes before the header so as to know its own file again.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def csv_records(path: str) -> Iterator[Record]:
    """The place and the cells of each record that has any, the header first.

    Separated by commas, semicolons, tabs or bars; UTF-8 or UTF-16, with or without a byte order
    mark. Bytes that are not UTF-8 are kept as surrogate escapes.

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
    before, delimiter, header = 0, None, ""
    for header in stream:
        separator = _SEPARATOR_LINE.fullmatch(header)
        if separator:
            delimiter = separator.group(1)
        elif header.strip():
            break
        before += 1
    lines = itertools.chain([header], stream)
    chosen = delimiter or _delimiter(header)
    reader = csv.reader(lines, delimiter=chosen, strict=True, skipinitialspace=chosen != " ")
    skipped = before
    for values in reader:
        # A quoted name may hold line ends: a record begins behind the one before it.
        if any(values):
            yield f"line {before + 1}", values
        before = skipped + reader.line_num


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
