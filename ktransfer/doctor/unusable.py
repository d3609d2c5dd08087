"""Findings on what is no readable image: broken, too large, or nothing to do with the data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ktransfer.data.images.header import MAX_PIXELS, Skipped, not_a_file
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.subject import Subject

#: What systems and programs leave in folders, in small letters.
_SYSTEM_FILES = {
    ".ds_store",
    ".localized",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    ".gitkeep",
    ".gitignore",
    ".gitattributes",
    ".picasa.ini",
    "icon\r",
    ".nomedia",
}
_TOO_LARGE = "too large: "


def unusable_findings(subject: Subject, faults: Mapping[int, str]) -> Iterator[Finding]:
    """Of what was skipped by its header, and of what cannot be decoded."""
    broken = [Skipped(subject.files.name(index), faults[index]) for index in sorted(faults)]
    sorted_out: dict[str, list[Skipped]] = {"unreadable": broken, "oversized": [], "skipped": []}
    for each in subject.skipped:
        sorted_out[_kind(each)].append(each)
    yield from _finding(
        sorted_out["unreadable"],
        "unreadable",
        "error",
        "that cannot be read as an image",
        "fetch or export them anew, or remove them; training leaves them out",
    )
    yield from _finding(
        sorted_out["oversized"],
        "oversized",
        "error",
        f"of more than {MAX_PIXELS:,} pixels, the limit: not decoded",
        "make them smaller if they are real photos; a few kilobytes that claim so many pixels are "
        "a decompression bomb",
    )
    yield from _finding(
        sorted_out["skipped"],
        "skipped",
        "info",
        "that belong to no class or are no image files",
        "nothing, if they are not meant to be images of a class",
    )


def _finding(
    found: list[Skipped], kind: str, severity: str, what: str, advice: str
) -> Iterator[Finding]:
    if found:
        found = sorted(found, key=lambda each: each.path)
        yield Finding(
            kind,
            severity,
            len(found),
            f"{len(found):,} {'entry' if len(found) == 1 else 'entries'} {what}",
            advice,
            tuple((each.path,) for each in found),
            tuple(each.reason for each in found),
        )


def _kind(skipped: Skipped) -> str:
    name = os.path.basename(skipped.path)
    if skipped.reason.startswith(_TOO_LARGE):
        return "oversized"
    # "._a.jpg" is what macOS leaves beside a.jpg on foreign disks.
    if name.casefold() in _SYSTEM_FILES or name.startswith("._"):
        return "skipped"
    outside = "lies outside" in skipped.reason or skipped.reason.startswith("hidden folder")
    if outside or (not_a_file(skipped.path) and os.path.lexists(skipped.path)):
        return "skipped"
    return "unreadable"
