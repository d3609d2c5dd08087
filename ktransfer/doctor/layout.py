"""Findings on how a folder or a table was read, and on classes that may be one."""

from __future__ import annotations

from collections.abc import Iterator

from ktransfer.data.reading.look_alikes import difference, look_alikes, told
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.subject import Subject


def layout_findings(subject: Subject) -> Iterator[Finding]:
    """Of readings that are not plain, and of class names that look alike."""
    if subject.fault:
        yield Finding(
            "layout",
            "error",
            1,
            subject.fault,
            "say which reading is meant, or mend the folders; until then nothing is trained on it",
        )
    elif subject.notes:
        yield Finding(
            "layout",
            "info",
            len(subject.notes),
            "; ".join(subject.notes),
            "nothing, if this is how it is meant",
        )
    yield from _look_alikes(subject)


def _look_alikes(subject: Subject) -> Iterator[Finding]:
    groups = look_alikes(subject.classes)
    if groups:
        yield Finding(
            "look_alike",
            "warning",
            len(groups),
            f"names of classes look alike: {'; '.join(map(told, groups))}",
            "give them one name if they are one class",
            tuple(
                tuple(subject.place(part, n) for n in group for part in _parts(subject, n))
                for group in groups
            ),
            tuple(f"they differ in {difference(group)}" for group in groups),
        )


def _parts(subject: Subject, name: str) -> list[str]:
    return [part for part in subject.parts if name in subject.declared[part]]
