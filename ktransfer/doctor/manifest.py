"""A manifest of the readable images, which `train` takes in place of the folder."""

from __future__ import annotations

import contextlib
import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from ktransfer._checks import InputError
from ktransfer.doctor.copies import contradicting, leaking
from ktransfer.doctor.examining import Examined

# Of a photo in two parts the copy in the later one stays: what is reported on is dearest.
_DEAREST = {"test": 2, "validation": 1, "train": 0}


def write_manifest(file: str | os.PathLike[str], examined: Examined, *, exclude: bool) -> int:
    """Writes a CSV file with the columns `path`, `label`, `split` and `findings`.

    It is written aside and renamed: whole or not at all. Paths are absolute; bytes of names that
    are not UTF-8 are kept. `split` is there where the data has parts, `findings` are kinds with
    spaces between them.

    Args:
        file: what to write.
        examined: what was looked at.
        exclude: leave out what should not be trained on, as `excluded` says.

    Returns:
        How many images it names.

    Raises:
        InputError: `file` is a folder, lies in none, or cannot be written.
    """
    target = Path(file)
    check_target(target)
    subject = examined.subject
    kept = examined.looks["seen"] & ~(excluded(examined) if exclude else False)
    kinds = _kinds_by_path(examined)
    with_parts = len(subject.parts) > 1
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["path", "label", *(["split"] if with_parts else []), "findings"])
            for index in np.flatnonzero(kept):
                path = subject.files.name(int(index))
                part = [subject.parts[subject.part[index]]] if with_parts else []
                label = subject.classes[subject.label[index]]
                found = " ".join(kinds.get(path, ()))
                writer.writerow([os.path.abspath(path), label, *part, found])
        partial.replace(target)
    except OSError as error:
        raise InputError(f"the manifest {str(file)!r} cannot be written: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return int(kept.sum())


def check_target(target: Path) -> None:
    """Raises an `InputError` if the file could not be written."""
    if target.is_dir():
        raise InputError(f"the manifest {str(target)!r} is a folder; name a file")
    if not target.absolute().parent.is_dir():
        raise InputError(f"the manifest {str(target)!r}: there is no folder {str(target.parent)!r}")
    if target.suffix.casefold() != ".csv":
        raise InputError(f"the manifest {str(target)!r} must end in .csv, for `train` to read it")


def excluded(examined: Examined) -> np.ndarray:
    """What should not be trained on, bool `(n,)`.

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
