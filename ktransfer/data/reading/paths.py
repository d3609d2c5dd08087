"""Files, folders and tables of images without labels, to predict on."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import Part
from ktransfer.data.reading.classes import inspected_files
from ktransfer.data.reading.layout import Path, is_table, missing
from ktransfer.data.reading.tables import read_table
from ktransfer.data.reading.walking import Found, is_folder, walk


def read_paths(paths: Path | Iterable[Path]) -> tuple[Part, tuple[Skipped, ...]]:
    """Read files, folders (recursively) and CSV files as an unlabelled part, to predict on.

    Args:
        paths: one path or several; their order is kept, files inside a folder are sorted. Of a CSV
            file the column `path` is read.

    Returns:
        The part, named "prediction" and with labels -1, and the files left out with their reasons.
        The part is empty if no file is a readable image.

    Raises:
        InputError: if a named path does not exist, or a CSV file cannot be read.
    """
    several = [paths] if isinstance(paths, str | bytes | os.PathLike) else paths
    found = [_found_at(os.fsdecode(each)) for each in several]
    skipped = [skip for each in found for skip in each.skipped]
    files = inspected_files((file for each in found for file in each.files), skipped)
    return Part("prediction", files, np.full(len(files), -1, np.int32)), tuple(skipped)


def _found_at(path: str) -> Found:
    # lexists: a dangling link does exist, and is reported as what it is.
    if not os.path.lexists(path):
        raise missing("file or folder", path)
    if is_table(path) and os.path.isfile(path):
        table = read_table(path, labelled=False)
        table.check()
        return Found([row.path for row in table.rows])
    return walk(path) if is_folder(path) else Found([path])
