"""How a folder is read, in the making and done: where the classes of each part lie."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ktransfer.data.images.header import Skipped, not_a_file
from ktransfer.data.parts import listed
from ktransfer.data.reading.companions import is_noted
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.reading.tree import Tree, base_names
from ktransfer.data.reading.walking import files_below, hidden, is_folder, is_hidden, list_folder
from ktransfer.errors import InputError

#: In the order in which they are read: the classes of train tell what the others are.
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class ClassFolders:
    """Where the images of one part lie.

    Attributes:
        folder: the folder of the part, for messages.
        classes: the folders of each class by its name, sorted.
        skipped: what lies beside them.
    """

    folder: str
    classes: Mapping[str, tuple[str, ...]]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class Arrangement:
    """How a folder is read.

    Attributes:
        folder: the folder that holds the classes or the parts; that given, or one below it.
        parts: by the part's name, train first, where its classes are; of one part there may be
            several. Empty where there are classes alone.
        classes: the folders in `folder`, read as classes.
        skipped: what belongs to no part.
        notes: whatever is not plain about the reading.
        fault: why the folder should not be read at all; None where nothing stands against it.
    """

    folder: str
    parts: Mapping[str, Sequence[ClassFolders]]
    classes: ClassFolders
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    fault: str | None = None

    def check(self) -> None:
        """Raise an `InputError` where there is a fault."""
        if self.fault:
            raise InputError(self.fault)


@dataclass
class Draft:
    """An arrangement in the making."""

    tree: Tree
    folder: str
    parts: dict[str, list[ClassFolders]] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fault: str | None = None
    # Named as parts, and neither that nor classes.
    left_out: set[str] = field(default_factory=set)

    def finished(self) -> Arrangement:
        """Say what has become of it; two folders for one part are a fault."""
        classes = self._classes()
        self.notes += _lost_links(self.folder)
        for part, several in self.parts.items():
            if len(several) > 1 and not self.fault:
                both = listed(base_names([each.folder for each in several]))
                self.fault = f"{self.folder!r} has {both}, all of them names for {part}: keep one"
        return Arrangement(
            self.folder,
            {part: self.parts[part] for part in PARTS if part in self.parts},
            classes,
            tuple(self.skipped),
            tuple(dict.fromkeys(self.notes)),
            self.fault,
        )

    def _classes(self) -> ClassFolders:
        if self.parts:
            return ClassFolders(self.folder, {})
        found = class_folders(self.tree, self.folder, self.notes)
        kept = {name: at for name, at in found.classes.items() if at[0] not in self.left_out}
        return replace(found, classes=kept)


def class_folders(tree: Tree, folder: str, notes: list[str]) -> ClassFolders:
    """Return the folders in a folder as classes, and what lies beside them."""
    classes: dict[str, tuple[str, ...]] = {}
    skipped: list[Skipped] = []
    for entry in list_folder(folder, skipped):
        if not is_folder(entry):
            lost = f": {not_a_file(entry)}" if _is_lost(entry) else ""
            skipped.append(Skipped(entry, f"lies outside every class folder{lost}"))
        elif is_hidden(entry):
            skipped.append(hidden(entry))
        elif tree.is_unlabelled(entry):
            skipped.append(Skipped(entry, "lies outside every class folder: named as unlabelled"))
            notes.append(f"{entry!r} is not read: by its name it holds what has no label")
        else:
            classes[os.path.basename(entry)] = (entry,)
    return ClassFolders(folder, classes, tuple(skipped))


def _lost_links(folder: str) -> list[str]:
    """Return notes on links beside the folders that lead nowhere: perhaps a class, or a part."""
    lost = [each for each in list_folder(folder, []) if _is_lost(each)]
    return [f"{each!r} is not read: {not_a_file(each)}" for each in lost]


def _is_lost(path: str) -> bool:
    return os.path.islink(path) and not os.path.exists(path)


def unwrapped(draft: Draft, root: str, part: str | None = None, known: Iterable[str] = ()) -> str:
    """Return the folder below `root` that holds more than one folder of images, or `root` itself.

    Args:
        draft: gets a note, and what lies on the way there.
        root: where to begin.
        part: which part it is of; a folder of that name inside is gone through, too.
        known: names of classes, which are not gone into.
    """
    tree, folder, passed = draft.tree, root, list[Skipped]()
    classes = tree.wanted | set(known)
    while len(filled := tree.filled(folder)) == 1:
        name, own = os.path.basename(filled[0]), part_of(os.path.basename(filled[0]))
        beside = [each for each in list_folder(folder, []) if each != filled[0]]
        stands = own is not None and own != part
        if name in classes or stands or any(map(_may_be_class, beside)):
            break
        passed += [Skipped(e, "lies beside the folder that is read") for e in beside]
        folder = filled[0]
    inside = tree.filled(folder)
    if folder == root or not (len(inside) > 1 or any(map(part_of, base_names(inside)))):
        return root
    draft.skipped += passed
    draft.notes.append(f"read from {folder!r}, the only folder with images in {root!r}")
    return folder


def _may_be_class(path: str) -> bool:
    """Tell whether it is an empty folder: a class whose images are missing, which is to be said."""
    if not is_folder(path) or is_hidden(path) or is_noted(path):
        return False
    return not any(True for _ in files_below(path))
