"""Folders that are named as parts, and what lies beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence

from ktransfer.data.images.header import Skipped
from ktransfer.data.parts import listed
from ktransfer.data.reading.ambiguity import flat_parts, two_readings
from ktransfer.data.reading.arrangement import PARTS, Draft, class_folders, unwrapped
from ktransfer.data.reading.companions import images_beside_notes, is_noted
from ktransfer.data.reading.look_alikes import differing
from ktransfer.data.reading.nested_classes import check_classes
from ktransfer.data.reading.part_names import is_fold, name_and_part, part_of
from ktransfer.data.reading.tree import Tree, base_names
from ktransfer.data.reading.walking import files_below

# Parts under these names need no word; all others are told.
_PLAIN = {"train", "training", "val", "valid", "validation", "test", "testing"}


def named_parts(draft: Draft) -> dict[str, str]:
    """Find the part of folders named as one: train, or flowers_train beside flowers_val."""
    folders = draft.tree.folders(draft.folder)
    plain = {e: part for e in folders if (part := part_of(os.path.basename(e)))}
    if "train" in plain.values():  # beside it, test1 is no class; test1 beside test2 may be one
        plain |= {e: part for e in folders if e not in plain and (part := _numbered_part(e))}
    told = {each: name_and_part(os.path.basename(each)) for each in draft.tree.filled(draft.folder)}
    found = {each: part for each, (_, part) in told.items() if part}
    if plain or len(found) < 2 or len(found) < len(told) or "train" not in found.values():
        return plain
    if len({rest for rest, _ in told.values()}) == 1:
        return found if len(set(found.values())) > 1 else {}
    if len(set(found.values())) > 1:
        names = base_names(list(told))
        draft.fault = two_readings(
            draft.folder,
            ("each of the folders as a class", names),
            ("as classes and parts in one name", sorted({rest for rest, _ in told.values()})),
            "or move them into PATH/train/CLASS and so on",
            named=False,
        )
    return {}


def _numbered_part(folder: str) -> str | None:
    part = part_of(re.sub(r"[\W_]*\d{1,2}$", "", os.path.basename(folder)))
    return part if part != "train" else None


def beside_each_other(draft: Draft, parts: Mapping[str, str]) -> None:
    """Folders named as parts in one folder, perhaps with others beside them."""
    tree, top = draft.tree, draft.folder
    beside = [each for each in tree.filled(top) if each not in parts]
    others = [
        each for each in beside if not is_noted(each) or os.path.basename(each) in tree.wanted
    ]
    draft.notes += [f"{e!r} is not read: by its name no class" for e in beside if e not in others]
    deep = [each for each in parts if tree.folders(each)]
    flat = [each for each in parts if each not in deep]
    wanted = set(base_names(others)) <= tree.wanted if others and tree.wanted else False
    if wanted:  # the classes are known, and these are none of them
        draft.left_out = {each for each in parts if os.path.basename(each) not in tree.wanted}
        draft.notes += [f"{each!r} is none of the classes: not read" for each in draft.left_out]
    elif not others:
        if not deep and tree.filled(top):
            order = sorted(flat, key=lambda each: PARTS.index(parts[each]))
            draft.fault = flat_parts(top, order)
        _add_parts(draft, parts, deep or flat, flat if deep else [])
    elif _is_train_and_more(parts, deep) or _inner_are_wanted(tree, deep):
        _add_parts(draft, parts, deep, flat)
        reason = "lies beside the parts: not read"
        draft.notes += [f"{each!r} {reason}" for each in others]
    else:
        _as_classes(draft, parts, deep, flat, others)


def _is_train_and_more(parts: Mapping[str, str], deep: Sequence[str]) -> bool:
    found = {parts[each] for each in deep}
    return "train" in found and len(found) > 1


def _inner_are_wanted(tree: Tree, folders: Sequence[str]) -> bool:
    return any(tree.wanted & set(base_names(tree.filled(each))) for each in folders)


def _as_classes(
    draft: Draft,
    parts: Mapping[str, str],
    deep: Sequence[str],
    flat: Sequence[str],
    others: Sequence[str],
) -> None:
    """Folders named as parts beside folders of images that are none: classes, or a fault."""
    tree, top = draft.tree, draft.folder
    every = [*deep, *(each for each in flat if tree.has_images(each))]
    names = sorted(base_names([*every, *others]))
    if deep:
        inner = sorted({n for each in deep for n in base_names(tree.folders(each))})
        draft.fault = two_readings(
            top,
            ("as classes", names),
            (f"{listed(base_names(deep))} as parts with the classes", inner),
            f"or give the part alone: {{'train': {deep[0]!r}}}",
        )
    elif _is_hardly_a_class(tree, parts, every, others):
        alone = sorted(base_names(others))
        draft.fault = two_readings(
            top,
            ("as classes", names),
            (f"without {listed(base_names(every))}, which has no class folders, as classes", alone),
            "or move or rename the folders",
        )
    elif every:
        draft.notes += [f"{each!r} is read as a class, not as a part" for each in every]


def _is_hardly_a_class(
    tree: Tree, parts: Mapping[str, str], flat: Sequence[str], others: Sequence[str]
) -> bool:
    # Train, bus and car are classes, and so are control and test; ants, bees and test hardly.
    if len({parts[each] for each in flat}) > 1:
        return True
    names = {each.casefold() for each in base_names(flat)}
    several = len(others) > 1 or any(len(tree.filled(each)) > 1 for each in others)
    return several and bool(names & {"test", "testing", "test_set", "val", "validation"})


def _add_parts(
    draft: Draft, parts: Mapping[str, str], folders: Sequence[str], flat: Sequence[str]
) -> None:
    """Add the parts, train first, for its classes tell what the others are."""
    settled = {name for each in folders for name in _leaves(draft.tree, each)}
    for part in PARTS:
        for folder in (each for each in folders if parts[each] == part):
            if _is_empty(draft, part, folder):
                _leave_out(draft, folder, "holds no image")
            else:
                _add_part(draft, part, folder, settled)
        for folder in (each for each in flat if parts[each] == part):
            if _is_empty(draft, part, folder):
                _leave_out(draft, folder, "holds no image")
            elif part == "test" and draft.parts:
                _leave_out(draft, folder, "holds no class folders")
            elif part == "validation" and draft.tree.has_images(folder):
                draft.fault = (
                    f"{folder!r} holds images and no class folders: sort them into folders as in "
                    "train; or move it away, and a part of train is held back for validation"
                )
            else:
                _add_part(draft, part, folder, settled)
    if not {each.casefold() for each in base_names([*folders, *flat])} <= _PLAIN:
        places = [
            f"{part} from {os.path.relpath(each.folder, draft.folder)!r}"
            for part, several in draft.parts.items()
            for each in several
        ]
        draft.notes.append(f"folders are read as parts: {', '.join(places)}")


def _is_empty(draft: Draft, part: str, folder: str) -> bool:
    """Tell whether a part beside train has no image, so that it is as if it were not there."""
    return part != "train" and "train" in draft.parts and not draft.tree.has_images(folder)


def _leaves(tree: Tree, folder: str) -> list[str]:
    """Return the names of a folder's folders if none are in them: they are classes."""
    inside = tree.filled(folder)
    names = base_names(inside)
    return [] if any(map(tree.filled, inside)) or any(map(is_fold, names)) else names


def _add_part(draft: Draft, part: str, folder: str, settled: Collection[str]) -> None:
    """Add a part; `settled` are the names of classes that another part makes certain."""
    expected = {name for each in draft.parts.get("train", ()) for name in each.classes}
    inside = unwrapped(draft, folder, part, expected)
    inner = Draft(draft.tree, inside, fault=images_beside_notes(draft.tree, inside))
    if not set(base_names(draft.tree.filled(inside))) <= {*draft.tree.wanted, *settled}:
        check_classes(inner)
    if inner.parts:
        found = inner.parts["train"][0]
    else:
        found = class_folders(draft.tree, inside, draft.notes)
    draft.fault = draft.fault or inner.fault
    draft.notes += inner.notes
    if part == "test" and expected and not expected & set(found.classes):
        others = listed(list(found.classes))
        what = f"holds {others}, none of them a class of train" if others else "holds no classes"
        _leave_out(draft, folder, f"{what}{differing(expected, found.classes)}")
        return
    draft.parts.setdefault(part, []).append(found)


def _leave_out(draft: Draft, folder: str, why: str) -> None:
    count = sum(1 for _ in files_below(folder))
    draft.skipped.append(Skipped(folder, f"lies outside every class folder: {why}"))
    if not draft.tree.has_images(folder):
        draft.notes.append(f"{folder!r} {'holds no image' if count else 'is empty'}: not used")
        return
    files = f"its {count:,} files are" if count > 1 else "its one file is"
    draft.notes.append(f"{folder!r} {why}: {files} not used (`predict` takes the folder)")
