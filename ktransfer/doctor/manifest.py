"""A manifest of the readable images, which `train` takes in place of the folder."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ktransfer.data.inputs import check_not_read
from ktransfer.doctor.copies import contradicting, leaking
from ktransfer.doctor.examining import Examined
from ktransfer.files.formulas import cell_of
from ktransfer.files.writing import check_new_file, write_file

_WHAT = "the manifest"

# Of a photo in two parts the copy in the later one stays: what is reported on is dearest.
_DEAREST = {"test": 2, "validation": 1, "train": 0}


def write_manifest(
    file: str | os.PathLike[str], examined: Examined, *, exclude: bool, overwrite: bool = False
) -> int:
    """Write a CSV file with the columns `path`, `label`, `split` and `findings`.

    It is written aside and renamed: whole or not at all. Paths are absolute; bytes of names that
    are not UTF-8 are kept. `split` is there where the data has parts, `findings` are kinds with
    spaces between them. A class name that a spreadsheet would take for a formula (`=`, `+`, `-` or
    `@` first) stands behind an apostrophe, which is taken off again where a table is read.

    Args:
        file: what to write.
        examined: what was looked at.
        exclude: leave out what should not be trained on, as `excluded` says.
        overwrite: replace a file that is there; never what was looked at.

    Returns:
        How many images it names.

    Raises:
        InputError: `file` exists, is a folder, lies in none, or cannot be written.
    """
    seen = list(examined.subject.all_paths()) if os.path.lexists(file) else []
    target = check_target(file, seen, overwrite=overwrite)
    kept = examined.records["seen"] & ~(excluded(examined) if exclude else False)

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(_rows(examined, kept))

    write_file(target, _WHAT, write, overwrite=overwrite)
    return int(kept.sum())


def check_target(file: str | os.PathLike[str], data: Any, *, overwrite: bool) -> Path:
    """Return the path; an `InputError` if it could not be written, or is what is read."""
    check_not_read(file, _WHAT, data)
    # `train` knows a table by its ending.
    return check_new_file(file, _WHAT, overwrite=overwrite, ending=".csv")


def _rows(examined: Examined, kept: np.ndarray) -> Iterator[list[str]]:
    """Yield the header, and a row for each image that is kept."""
    subject = examined.subject
    kinds = _kinds_by_path(examined)
    with_parts = len(subject.parts) > 1
    yield ["path", "label", *(["split"] if with_parts else []), "findings"]
    for index in np.flatnonzero(kept):
        path = subject.files.name(int(index))
        part = [subject.parts[subject.part[index]]] if with_parts else []
        label = cell_of(subject.classes[subject.label[index]])
        yield [os.path.abspath(path), label, *part, " ".join(kinds.get(path, ()))]


def excluded(examined: Examined) -> np.ndarray:
    """Say what should not be trained on, bool `(n,)`.

    All images of a photo that has two labels; of a photo in two parts all but those in the test
    part (or validation, where test has none); of equal files all but the first. Where there are no
    parts, of near duplicates all but the first too, as a part would be drawn from them.
    """
    subject, same = examined.subject, examined.same
    out = np.zeros(len(subject), bool)
    for group in contradicting(subject, same):
        out[group] = True
    for group in leaking(subject, same):
        worth = np.array([_DEAREST[subject.parts[part]] for part in subject.part[group]])
        out[group[worth < worth.max()]] = True
    for group in (*same.exact, *(same.near if len(subject.parts) == 1 else ())):
        out[group[~out[group]][1:]] = True
    return out


def _kinds_by_path(examined: Examined) -> dict[str, list[str]]:
    kinds = defaultdict(list)
    for finding in examined.report.findings:
        for path in {path for group in finding.paths for path in group}:
            kinds[path].append(finding.kind)
    return kinds
