"""Cells of CSV files that a spreadsheet would take for formulas, written so that it does not.

A class named `=1+1` is written as `'=1+1`: behind an apostrophe spreadsheets see text. Tables that
are read here lose the apostrophe again, so that a name comes back as it was. Of a path it would
make another one: `=1.jpg` is written as `./=1.jpg`, which is the same file.
"""

from __future__ import annotations

import os
import re

# Also as wide as the characters of Chinese and Japanese, which spreadsheets take for the same.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def cell_of(name: str) -> str:
    """Return a name as it is written.

    Example:
        >>> cell_of("=1+1"), cell_of("'=1+1"), cell_of("-1"), cell_of("red")
        ("'=1+1", "''=1+1", '-1', 'red')
    """
    return f"'{name}" if _FORMULA.match(name) and not _is_number(name) else name


def name_in(cell: str) -> str:
    """Return the name that was written as this cell.

    Example:
        >>> name_in("'=1+1"), name_in("'s Gravenhage"), name_in("-1")
        ('=1+1', "'s Gravenhage", '-1')
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def path_cell(path: str) -> str:
    """Return a path as it is written: another spelling of it, where it would begin a formula."""
    return os.path.join(os.curdir, path) if _FORMULA.match(path) else path


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
