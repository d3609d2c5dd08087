"""`examine`: one pass over a data set, and a report of what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ktransfer.data.images.held import HeldImages
from ktransfer.data.images.value_range import AUTO, ValueRange, choose, given_range
from ktransfer.data.parts import Splits
from ktransfer.data.reading.items import is_path
from ktransfer.data.reading.labels import check_class_names
from ktransfer.data.sources.front import read_data, source_of
from ktransfer.doctor.checks import check_all
from ktransfer.doctor.close_up import close_ups_of
from ktransfer.doctor.crew import inspect_all, inspect_in_threads
from ktransfer.doctor.estimate import estimate
from ktransfer.doctor.findings import Report, in_order
from ktransfer.doctor.inspection import extremes_of, inspect_held
from ktransfer.doctor.sameness import Sameness, find_same
from ktransfer.doctor.subject import Subject, of_listing, of_splits
from ktransfer.errors import unknown_name
from ktransfer.show.progress import progress_bar
from ktransfer.show.timing import timed

Inspect = Callable[..., tuple[np.ndarray, dict[int, str]]]
Progress = Callable[[int, int], None]

#: The search for near duplicates compares all with all: beyond, it would take hours.
MOST_COMPARED = 400_000


class Examined:
    """A data set that was inspected: what `examine` reports on, and a manifest is written from.

    Attributes:
        subject: the images.
        records: `RECORD` `(n,)`.
        same: which of them are the same.
        report: what was found.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        data: str,
        verbose: bool,
        seconds: dict[str, float] | None = None,
        quick: bool = False,
        measure: bool = False,
    ) -> None:
        """Inspect all images.

        Args:
            subject: the images.
            data: what they come from, in words.
            verbose: show progress on standard error.
            seconds: where wall times are noted, by phase.
            quick: in this process, and without a forecast.
            measure: measure which values are black and white in more than 8 bits.
        """
        seconds = {} if seconds is None else seconds
        with timed(seconds, "look"), progress_bar("looking", len(subject), shown=verbose) as bar:
            inspect = inspect_in_threads if quick else inspect_all
            self.records, faults = _records(subject, inspect, bar)
            measured = choose(extremes_of(self.records)) if measure else None
            if measured:
                # What was seen of them was black.
                subject = subject.measured_as(measured)
                deep = np.flatnonzero(self.records["depth"])
                self.records[deep], _ = _records(subject, inspect, bar, deep)
        self.subject = subject
        with timed(seconds, "compare"):
            self.same: Sameness = find_same(
                self.records,
                near=len(subject) <= MOST_COMPARED,
                closer=close_ups_of(subject.files),
            )
            findings = check_all(subject, self.records, faults, self.same)
            findings += () if quick else estimate(subject, self.records)
        usable = self.records["seen"].astype(np.bool_)
        self.report = Report(data, in_order(findings), subject.counts(usable), seconds)


def _records(
    subject: Subject, inspect: Inspect, bar: Progress, rows: np.ndarray | None = None
) -> tuple[np.ndarray, dict[int, str]]:
    """Inspect some of the images, or all; faults by position."""
    files, rows = subject.files, np.arange(len(subject)) if rows is None else rows
    if isinstance(files, HeldImages):
        return inspect_held(files.select(rows))
    return inspect(subject.paths(rows), progress=bar, value_range=files.value_range)


def inspect_data(
    data: Any,
    *,
    verbose: bool = False,
    value_range: str | ValueRange | None = AUTO,
    class_names: Sequence[str] | None = None,
    quick: bool = False,
) -> Examined:
    """`examine`, with all that it is made of."""
    names = None if class_names is None else check_class_names(class_names)
    given, measure = given_range(value_range), value_range == AUTO
    seconds: dict[str, float] = {}
    with timed(seconds, "scan"):
        name = os.fsdecode(data) if is_path(data) else "the " + type(data).__name__
        # Leniently, where it can be: what training would refuse is to be reported.
        listing = None if isinstance(data, Splits) else source_of(data).listing(names)
        if listing is not None:
            subject = of_listing(listing)
            _check_known(names, subject)
            subject = replace(subject, files=subject.files.with_range(given))
        elif isinstance(data, Splits):
            subject, measure = of_splits(data), False
        else:
            splits = read_data(data, value_range=value_range, class_names=names)
            subject = replace(of_splits(splits), measured=measure and bool(splits.value_range))
            measure = False
    return Examined(
        subject, data=name, verbose=verbose, seconds=seconds, quick=quick, measure=measure
    )


def _check_known(class_names: Sequence[str] | None, subject: Subject) -> None:
    """Raise an `InputError` for a class that was asked for and is not there."""
    for name in class_names or ():
        if name not in subject.classes:
            raise unknown_name("class", name, subject.classes)


def examine(
    data: Any,
    *,
    verbose: bool = False,
    value_range: str | ValueRange | None = AUTO,
    class_names: Sequence[str] | None = None,
    quick: bool = False,
) -> Report:
    """Look at every image of a data set and report what is wrong with it.

    All pixels are decoded, in processes of their own, so that a file that crashes or hangs a
    decoder is named like any other. Nothing is moved, rewritten or deleted.

    Args:
        data: a folder of class folders, or of parts with such folders; a CSV file or DataFrame with
            the columns path, label and perhaps split; or all else that `fit` takes, and `Splits`.
        verbose: show progress on standard error.
        value_range: which values are black and white in images of more than 8 bits, as in `fit`.
        class_names: the classes, where a folder can be read in two ways, or labels are numbers.
        quick: in this process, which a file may crash, and without a forecast.

    Returns:
        A `Report`: print it, or take its `findings`.

    Raises:
        InputError: the path does not exist, or is neither a folder nor a table; arrays and
            datasets cannot be used, as in `fit`.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> photos = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("light", "dark"):
        ...     (photos / name).mkdir()
        ...     pixels = np.random.default_rng(len(name)).integers(0, 256, (48, 48, 3), np.uint8)
        ...     Image.fromarray(pixels).save(photos / name / "a.png")
        ...     _ = (photos / name / "b.jpg").write_bytes(b"<html>")
        >>> for finding in examine(photos).by_severity("error"):
        ...     print(finding.kind, finding.count, finding.reasons[0])
        unreadable 2 not an image: HTML text named .jpg
    """
    return inspect_data(
        data, verbose=verbose, value_range=value_range, class_names=class_names, quick=quick
    ).report
