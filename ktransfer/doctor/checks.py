"""All checks, on what one pass over the images saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ktransfer.doctor.classes import class_findings
from ktransfer.doctor.copies import copy_findings
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.layout import layout_findings
from ktransfer.doctor.names import name_findings
from ktransfer.doctor.pixels import pixel_findings
from ktransfer.doctor.sameness import Sameness
from ktransfer.doctor.sizes import size_findings
from ktransfer.doctor.subject import Subject
from ktransfer.doctor.unusable import unusable_findings


def check_all(
    subject: Subject, records: np.ndarray, faults: Mapping[int, str], same: Sameness
) -> list[Finding]:
    """Return all findings, in no order.

    Args:
        subject: the images.
        records: `RECORD` `(n,)`.
        faults: by position, why an image cannot be decoded.
        same: which images are the same.
    """
    usable = records["seen"].astype(np.bool_)
    return [
        *copy_findings(subject, same),
        *layout_findings(subject),
        *class_findings(subject, subject.counts(usable)),
        *unusable_findings(subject, faults),
        *name_findings(subject),
        *pixel_findings(subject, records),
        *size_findings(subject, records),
    ]
