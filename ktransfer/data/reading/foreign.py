"""Files of labels or images in forms that are not read: what they are, and what to give instead."""

from __future__ import annotations

import os
from collections.abc import Iterable

_TABLES: dict[tuple[str, ...], str] = {
    (".json", ".jsonl", ".ndjson"): (
        "JSON: give a DataFrame with the columns path and label, as pandas.read_json may make it "
        "(lines=True where each line is an object)"
    ),
    (".parquet", ".feather", ".arrow"): (
        "a table in columns: give a DataFrame with the columns path and label, as of "
        "pandas.read_parquet"
    ),
    (".xlsx", ".xls", ".ods"): (
        "a spreadsheet: save it as CSV, or give the DataFrame of pandas.read_excel"
    ),
}
_OTHERS: dict[tuple[str, ...], str] = {
    (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"): (
        "an archive: unpack it and give the folder"
    ),
    (".txt", ".lst", ".list"): (
        "text: if it lists images, begin it with the line path,label, put commas between, and name "
        "it .csv"
    ),
    (".h5", ".hdf5", ".mat", ".pkl", ".pickle", ".pt", ".pth", ".tfrecord", ".tfrecords"): (
        "no image and no list of images: read it with the program that it is of and give arrays, "
        "(images, labels), or save them as numpy.savez('images.npz', images=images, labels=labels)"
    ),
    (".xml", ".yaml", ".yml"): (
        "notes on images: list these in a CSV file with the columns path, label"
    ),
}


def what_to_give(path: str) -> str | None:
    """Say what a file is by its name, and what to give instead; None where that is not known."""
    return _of_extension(path, {**_TABLES, **_OTHERS})


def tables_of_other_forms(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Return those of some files that may hold labels, each with what to give instead."""
    return [(each, how) for each in paths if (how := _of_extension(each, _TABLES))]


def _of_extension(path: str, kinds: dict[tuple[str, ...], str]) -> str | None:
    extension = os.path.splitext(path)[1].casefold()
    return next((how for extensions, how in kinds.items() if extension in extensions), None)
