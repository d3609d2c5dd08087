"""Folders inside class folders: parts of each class, or classes of which the outer are none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ktransfer.data.parts import listed
from ktransfer.data.reading.ambiguity import two_readings, where_labels_are
from ktransfer.data.reading.arrangement import PARTS, ClassFolders, Draft
from ktransfer.data.reading.companions import images_beside_notes
from ktransfer.data.reading.part_names import are_pieces, holds_images_by_name, is_fold, part_of
from ktransfer.data.reading.tree import base_names
from ktransfer.data.reading.walking import is_folder


def inside_classes(draft: Draft, *, settled: bool = False) -> bool:
    """Return class folders with the parts inside: ants/train, ants/val, bees/train, bees/val.

    Args:
        draft: gets the parts, or a fault.
        settled: whether the folders are known to be classes, so that there is no other reading.
    """
    tree, filled = draft.tree, draft.tree.filled(draft.folder)
    inner = {each: {f: part_of(os.path.basename(f)) for f in tree.filled(each)} for each in filled}
    parts_in = {each: set(found.values()) for each, found in inner.items()}
    divided = [e for e, parts in parts_in.items() if "train" in parts and len(parts) > 1]
    if len(filled) < 2 or not divided:
        return False
    deeper = sorted({n for e in divided for f in inner[e] for n in base_names(tree.filled(f))})
    whole = len(divided) == len(filled) and all(None not in parts for parts in parts_in.values())
    unclear = bool(deeper) or not whole or any(map(tree.has_own_images, filled))
    if unclear and settled:
        return False
    if unclear:
        named = sorted({os.path.basename(f) for each in divided for f in inner[each]})
        draft.fault = two_readings(
            draft.folder,
            ("as classes", base_names(filled)),
            (
                f"as sets of the parts {listed(named)}" + (" with the classes" if deeper else ""),
                deeper,
            ),
            f"or give one of them alone, such as {divided[0]!r}",
            named=False,
        )
        return True
    for part in PARTS:
        classes = {
            os.path.basename(each): tuple(f for f, own in inner[each].items() if own == part)
            for each in filled
        }
        found = {name: folders for name, folders in classes.items() if folders}
        if found:
            draft.parts[part] = [ClassFolders(draft.folder, found)]
    names = listed(base_names(filled))
    draft.notes.append(
        f"{names} are read as classes, and the folders in each as parts: {', '.join(draft.parts)}"
    )
    return True


def check_classes(draft: Draft) -> None:
    """Look for folders that may be folds or sets of classes, and no classes themselves."""
    tree, filled = draft.tree, draft.tree.filled(draft.folder)
    draft.fault = draft.fault or images_beside_notes(tree, draft.folder)
    if draft.fault or len(filled) < 2:
        return
    names = base_names(filled)
    inner = [set(base_names(tree.filled(each))) for each in filled]
    copy = next((n for n, own in zip(names, inner, strict=True) if _is_copy(n, own, names)), None)
    if copy:
        draft.fault = (
            f"{draft.folder!r} has the folders {listed(names)}, and {copy!r} in it has folders of "
            f"the same names: it looks like a copy of the whole. Remove the one or the other, or "
            f"give {os.path.join(draft.folder, copy)!r} instead"
        )
        return
    folds, pieces = all(map(is_fold, names)), are_pieces(names)
    common = set.intersection(*inner)
    alike = len(common) > 1 and 2 * len(common) >= len(set.union(*inner))
    if not (folds or pieces) and (not alike or any(map(tree.has_own_images, filled))):
        return
    within = sorted(each for each in set.union(*inner) if not holds_images_by_name(each))
    if tree.wanted & set(within):
        _read_together(draft, filled, within)
        return
    example = f"{{'train': {filled[0]!r}, 'validation': {filled[1]!r}}}"
    hint = "" if within else where_labels_are([draft.folder], filled[0])
    draft.fault = two_readings(
        draft.folder,
        ("as classes", names),
        (
            f"{listed(names)} as {'folds' if folds else 'pieces' if pieces else 'sets'} of images "
            + ("with the classes" if within else "without classes"),
            within,
        ),
        f"{hint}; or give them as parts: {example}"
        if hint
        else f"or give them as parts: {example}",
    )


def _is_copy(name: str, inner: set[str], names: Sequence[str]) -> bool:
    others = set(names) - {name}
    return len(others) > 1 and others <= inner


def _read_together(draft: Draft, folders: Sequence[str], names: Sequence[str]) -> None:
    inner = {
        name: tuple(f for e in folders if is_folder(f := os.path.join(e, name))) for name in names
    }
    draft.parts["train"] = [ClassFolders(draft.folder, inner)]
    draft.notes.append(f"the classes in {listed(base_names(folders))} are read together")
