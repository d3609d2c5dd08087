"""Findings on classes: empty, few, uneven, or not the same in all parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ktransfer.data.parts import listed
from ktransfer.data.reading.ambiguity import where_labels_are
from ktransfer.data.reading.odd_labels import counted, says_nothing
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.subject import Subject

#: The largest class of a part may have this many times the images of the smallest. At 3, a model
#: that always says the larger of two classes is right in 75 of 100.
MOST_UNEVEN = 3.0
#: Fewer training images in a class than this tell little: 5-shot accuracy varies by several points.
FEWEST = 10

Counts = Mapping[str, Mapping[str, int]]


def class_findings(subject: Subject, counts: Counts) -> Iterator[Finding]:
    """Of the readable images by part and class."""
    yield from _too_few(subject, counts)
    yield from _mismatch(subject)
    yield from _empty(subject, counts)
    yield from _imbalance(subject, counts)
    yield from _few(subject, counts)
    yield from _missing_values(subject, counts)


def _missing_values(subject: Subject, counts: Counts) -> Iterator[Finding]:
    """Look for classes that are called as programs call a missing value."""
    of_all = {
        name: sum(classes.get(name, 0) for classes in counts.values())
        for name in filter(says_nothing, subject.classes)
    }
    if of_all:
        yield Finding(
            "no_label",
            "warning",
            len(of_all),
            f"{counted(of_all)}: programs call a missing value so",
            "if it says that there is no label, leave these images out, by their rows or their "
            "folder; if it is a class, all is well",
            tuple((subject.place(subject.parts[0], name),) for name in of_all),
        )


def _too_few(subject: Subject, counts: Counts) -> Iterator[Finding]:
    """Fewer than two classes with images: of nothing readable nothing else may be said."""
    filled = {name for part in counts.values() for name, count in part.items() if count}
    if len(filled) > 1:
        return
    what, where = "there is no readable image of any class", ""
    if filled:
        what = f"only the class {filled.pop()!r} has readable images"
    elif subject.root and not subject.from_table:
        where = where_labels_are([subject.root], subject.root)
    yield Finding(
        "few_classes",
        "error",
        1,
        what,
        "training needs at least two classes: give a folder of class folders, or a table with the "
        f"columns path and label{f'; {where}' if where else ''}",
    )


def _mismatch(subject: Subject) -> Iterator[Finding]:
    if len(subject.parts) < 2:
        return
    everywhere = set.intersection(*(set(subject.declared[part]) for part in subject.parts))
    torn = [
        (name, [part for part in subject.parts if name in subject.declared[part]])
        for name in subject.classes
        if name not in everywhere
    ]
    if torn:
        learnt = {frozenset(subject.declared[part]) for part in subject.parts if part != "test"}
        only_test = len(learnt) == 1
        yield Finding(
            "class_mismatch",
            "warning" if only_test else "error",
            len(torn),
            f"{listed([name for name, _ in torn])} {'is' if len(torn) == 1 else 'are'} not in all "
            f"parts ({', '.join(subject.parts)})",
            "give every part the same classes: mind spelling and capitals, move images or rename "
            f"folders{'; until then the test part is not used in training' if only_test else ''}",
            tuple(tuple(subject.place(part, name) for part in parts) for name, parts in torn),
            tuple(f"only in {', '.join(parts)}" for _, parts in torn),
        )


def _empty(subject: Subject, counts: Counts) -> Iterator[Finding]:
    empty = [(part, name) for part in counts for name, count in counts[part].items() if not count]
    if empty:
        yield Finding(
            "empty_class",
            "error",
            len(empty),
            f"{len(empty)} class{'es have' if len(empty) > 1 else ' has'} no readable image",
            "add images or remove the class; a folder above or below the class folders may have "
            "been given",
            tuple((subject.place(part, name),) for part, name in empty),
            tuple(f"{name} in {part}" for part, name in empty),
        )


def _imbalance(subject: Subject, counts: Counts) -> Iterator[Finding]:
    uneven = []
    for part, classes in counts.items():
        filled = {name: count for name, count in classes.items() if count}
        if len(filled) > 1 and max(filled.values()) >= MOST_UNEVEN * min(filled.values()):
            uneven.append((part, max(filled, key=filled.__getitem__), filled))
    if not uneven:
        return
    reasons, paths = [], []
    for part, largest, filled in uneven:
        smallest = min(filled, key=filled.__getitem__)
        times = filled[largest] / filled[smallest]
        reasons.append(
            f"{part}: {largest} has {filled[largest]:,}, {smallest} {filled[smallest]:,}, "
            f"{times:.1f} times fewer"
        )
        paths.append((subject.place(part, largest), subject.place(part, smallest)))
    yield Finding(
        "imbalance",
        "warning",
        len(uneven),
        f"the classes are uneven in {', '.join(part for part, _, _ in uneven)}",
        "judge by balanced accuracy and by class, not by accuracy; weight the classes or sample "
        "them evenly, or add images to the small ones",
        tuple(paths),
        tuple(reasons),
    )


def _few(subject: Subject, counts: Counts) -> Iterator[Finding]:
    train = counts.get("train", {})
    few = [(name, count) for name, count in train.items() if 0 < count < FEWEST]
    if few:
        yield Finding(
            "few_images",
            "warning",
            len(few),
            f"{len(few)} class{'es have' if len(few) > 1 else ' has'} fewer than {FEWEST} training "
            "images",
            "add images; results on so few change much from one photo to the next",
            tuple((subject.place("train", name),) for name, _ in few),
            tuple(f"{count}" for _, count in few),
        )
