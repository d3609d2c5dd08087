"""`examine`: one pass over a data set, and a report of what is wrong with it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ktransfer._progress import progress_bar
from ktransfer._timing import timed
from ktransfer.data.held import HeldImages
from ktransfer.data.layout import TFDS_PREFIX
from ktransfer.data.listing import read_listing
from ktransfer.data.parts import Splits
from ktransfer.data.sources import read_data
from ktransfer.doctor.checks import check_all
from ktransfer.doctor.crew import look_at_all, look_in_threads
from ktransfer.doctor.estimate import estimate
from ktransfer.doctor.findings import Report, in_order
from ktransfer.doctor.looking import look_at_held
from ktransfer.doctor.sameness import Sameness, find_same
from ktransfer.doctor.subject import Subject, of_listing, of_splits

#: The search for near duplicates compares all with all: beyond, it would take hours.
MOST_COMPARED = 400_000


class Examined:
    """A data set that was looked at: what `examine` reports on, and a manifest is written from.

    Attributes:
        subject: the images.
        looks: records `LOOK` `(n,)`.
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
        before_training: bool = False,
    ) -> None:
        self.subject = subject
        seconds = {} if seconds is None else seconds
        with timed(seconds, "look"), progress_bar("looking", len(subject), shown=verbose) as bar:
            if isinstance(subject.files, HeldImages):
                self.looks, faults = look_at_held(subject.files)
            else:
                look = look_in_threads if before_training else look_at_all
                self.looks, faults = look(subject.paths(range(len(subject))), progress=bar)
        with timed(seconds, "compare"):
            self.same: Sameness = find_same(self.looks, near=len(subject) <= MOST_COMPARED)
            findings = check_all(subject, self.looks, faults, self.same)
            findings += () if before_training else estimate(subject, self.looks)
        usable = self.looks["seen"].astype(np.bool_)
        self.report = Report(data, in_order(findings), subject.counts(usable), seconds)


def look_through(data: Any, *, verbose: bool = False) -> Examined:
    """`examine`, with all that it is made of."""
    seconds: dict[str, float] = {}
    with timed(seconds, "scan"):
        is_path = isinstance(data, str | os.PathLike)
        name = os.fsdecode(data) if is_path else "the " + type(data).__name__
        if (is_path and not name.startswith(TFDS_PREFIX)) or hasattr(data, "columns"):
            # Leniently: what training would refuse is to be reported.
            subject = of_listing(read_listing(data))
        else:
            subject = of_splits(data if isinstance(data, Splits) else read_data(data))
    return Examined(subject, data=name, verbose=verbose, seconds=seconds)


def examine(data: Any, *, verbose: bool = False) -> Report:
    """Look at every image of a data set and report what is wrong with it.

    All pixels are decoded, in processes of their own, so that a file that crashes or hangs a
    decoder is named like any other. Nothing is moved, rewritten or deleted.

    Args:
        data: a folder of class folders, or of parts with such folders; a CSV file or DataFrame with
            the columns path, label and perhaps split; or all else that `fit` takes, and `Splits`.
        verbose: show progress on standard error.

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
    return look_through(data, verbose=verbose).report
