"""Findings on names: what the extension claims, and what cannot be printed or typed."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator

from ktransfer.data.images.files import ImageFiles
from ktransfer.data.images.header import EXTENSIONS, extension_lies
from ktransfer.data.reading.look_alikes import difference, folded
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.subject import Subject

#: Names of files may have 255 bytes on most systems; archives and other systems allow fewer.
LONG_NAME_BYTES = 200

_RIGHT_TO_LEFT = {"R", "AL", "RLE", "RLO", "RLI"}
_IMAGE_EXTENSIONS = {f".{each}" for several in EXTENSIONS.values() for each in several}


def name_findings(subject: Subject) -> Iterator[Finding]:
    """Of extensions that lie, and of odd names of files and folders."""
    yield from _lying(subject)
    odd = {path: reason for path in subject.all_paths() if (reason := _oddness(path, subject.root))}
    odd |= {path: reason for path, reason in _clashing(subject.all_paths()) if path not in odd}
    if subject.root is not None and not subject.from_table:
        odd |= dict.fromkeys(_image_folders(subject.root), "folder named like an image")
    if odd:
        found = sorted(odd)
        yield Finding(
            "odd_name",
            "info",
            len(found),
            f"{len(found):,} name{'s' if len(found) > 1 else ''} that other programs may stumble "
            "over",
            "rename them if scripts, archives or other systems are to handle the files; here they "
            "are read",
            tuple((path,) for path in found),
            tuple(odd[path] for path in found),
        )


def _lying(subject: Subject) -> Iterator[Finding]:
    lying = []
    if not isinstance(subject.files, ImageFiles):
        return
    for index in range(len(subject)):
        path, image_format = subject.files.name(index), subject.files.format(index)
        if image_format and extension_lies(path, image_format):
            lying.append((path, f"holds {image_format}"))
    if lying:
        many = len(lying) > 1
        yield Finding(
            "wrong_extension",
            "warning",
            len(lying),
            f"{len(lying):,} file{'s have' if many else ' has'} the extension of another image "
            f"format than {'their' if many else 'its'} content",
            "rename them if other programs are to read them; here the content decides",
            tuple((path,) for path, _ in lying),
            tuple(reason for _, reason in lying),
        )


def _oddness(path: str, root: str | None) -> str | None:
    """Say what is odd about a name below the root, in words; None if nothing is."""
    # Only below the root: where a data set lies is not its fault.
    name = os.path.relpath(path, root) if root else path
    if any(each != each.strip(" ") for each in name.split(os.sep)):
        return "blanks at an end"
    if name.isascii() and name.isprintable() and len(name) < LONG_NAME_BYTES:
        return None
    if any("\udc80" <= each <= "\udcff" for each in name):
        return "bytes that are not UTF-8"
    if any(unicodedata.category(each) in ("Cc", "Zl", "Zp") for each in name):
        return "line breaks or control characters"
    if any(unicodedata.bidirectional(each) in _RIGHT_TO_LEFT for each in name):
        return "right-to-left text, which may be shown in another order"
    if not name.isprintable():
        return "characters that cannot be seen"
    longest = max(len(os.fsencode(each)) for each in name.split(os.sep))
    return f"name of {longest} bytes" if longest >= LONG_NAME_BYTES else None


def _clashing(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files of one folder whose names are one on systems that do not tell capitals apart."""
    first: dict[tuple[str, str], str] = {}
    for path in paths:
        folder, name = os.path.split(path)
        other = first.setdefault((folder, folded(name)), name)
        if other != name:
            yield path, f"differs from {other!a} in {difference((other, name))} only"


def _image_folders(root: str) -> Iterator[str]:
    for folder, folders, _ in os.walk(root):
        for name in folders:
            if os.path.splitext(name)[1].casefold() in _IMAGE_EXTENSIONS:
                yield os.path.join(folder, name)
