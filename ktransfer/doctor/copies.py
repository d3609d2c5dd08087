"""Findings on images that are the same: leaks, contradicting labels, duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ktransfer.doctor.findings import Finding
from ktransfer.doctor.sameness import Sameness
from ktransfer.doctor.similar import MAX_DISTANCE
from ktransfer.doctor.subject import Subject

BYTES, SIGHT = "same bytes", "near duplicates"


def copy_findings(subject: Subject, same: Sameness) -> Iterator[Finding]:
    """Yield one group may be in several findings: for each of its sins."""
    yield from _leaks(subject, same)
    yield from _contradictions(subject, same)
    if same.near:
        yield Finding(
            "near_duplicate",
            "warning",
            len(same.near),
            f"{_groups(len(same.near))} of images that show the same photo (resized, encoded anew, "
            f"brightened, slightly cropped, or a moment later){_narrowed(same)}",
            "look at some of them; keep one of each group, or keep each group within one part",
            tuple(subject.paths(group) for group in same.near),
        )
    if same.exact:
        yield Finding(
            "duplicate",
            "warning",
            len(same.exact),
            f"{_groups(len(same.exact))} of files with the same bytes",
            "keep one of each: `ktransfer doctor DATA --out manifest.csv --exclude` leaves the "
            "others out of a manifest",
            tuple(subject.paths(group) for group in same.exact),
        )


def leaking(subject: Subject, same: Sameness) -> list[np.ndarray]:
    """Find groups that lie in two parts."""
    return [group for group in same.groups if len(np.unique(subject.part[group])) > 1]


def contradicting(subject: Subject, same: Sameness) -> list[np.ndarray]:
    """Find groups that have two labels."""
    return [group for group in same.groups if len(np.unique(subject.label[group])) > 1]


def _leaks(subject: Subject, same: Sameness) -> Iterator[Finding]:
    groups = leaking(subject, same)
    if not groups:
        return
    between = sorted({_parts(subject, group) for group in groups})
    what = f"{len(groups):,} photo{'s are' if len(groups) > 1 else ' is'} in two parts"
    advice = (
        "the score on these photos is remembered, not learnt: `ktransfer doctor DATA --out "
        "manifest.csv --exclude` leaves their training side out of a manifest"
    )
    if subject.drawn:
        advice = (
            "the validation part was drawn from train: with `ktransfer doctor DATA --out "
            "manifest.csv --exclude`, one copy of each is left to be drawn"
        )
    how = [_how(same, subject.part, group) for group in groups]
    yield Finding(
        "leak",
        _severity(how),
        len(groups),
        f"{what} ({'; '.join(between)}): the score there is better than it should be",
        advice,
        tuple(subject.paths(group) for group in groups),
        tuple(how),
    )


def _contradictions(subject: Subject, same: Sameness) -> Iterator[Finding]:
    groups = contradicting(subject, same)
    if groups:
        how = [_how(same, subject.label, group) for group in groups]
        yield Finding(
            "conflicting_labels",
            _severity(how),
            len(groups),
            f"{len(groups):,} photo{'s have' if len(groups) > 1 else ' has'} two labels",
            "decide which label is right and remove the others; --exclude leaves out all of them",
            tuple(subject.paths(group) for group in groups),
            tuple(
                f"{way} as "
                + ", ".join(subject.classes[label] for label in np.unique(subject.label[group]))
                for way, group in zip(how, groups, strict=True)
            ),
        )


def _severity(how: Sequence[str]) -> str:
    """Return the same bytes are certain; what only looks the same is for people to judge."""
    return "error" if BYTES in how else "warning"


def _parts(subject: Subject, group: np.ndarray) -> str:
    return " and ".join(subject.parts[part] for part in np.unique(subject.part[group]))


def _how(same: Sameness, sides: np.ndarray, group: np.ndarray) -> str:
    """Tell whether the same bytes lie on two sides, or only what looks the same."""
    pairs = set(zip(same.content[group].tolist(), sides[group].tolist(), strict=True))
    contents = [content for content, _ in pairs]
    return BYTES if len(set(contents)) < len(contents) else SIGHT


def _groups(count: int) -> str:
    return f"{count:,} group{'s' if count > 1 else ''}"


def _narrowed(same: Sameness) -> str:
    if same.max_distance == MAX_DISTANCE:
        return ""
    return (
        f"; so many images look alike that only hashes up to {same.max_distance} of 64 bits apart "
        "were compared"
    )
