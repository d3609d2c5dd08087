"""What lies beside images and is no class: annotations, masks, files of labels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

from ktransfer.data.parts import listed
from ktransfer.data.reading.ambiguity import where_labels_are
from ktransfer.data.reading.part_names import holds_images_by_name, name_and_part, part_of
from ktransfer.data.reading.tree import Tree, base_names

# What is drawn on images or noted of them, as YOLO, Pascal VOC, CUB and others call it.
_NOTED = re.compile(
    r"annot(ation)?s?|labels?|ground[\W_]*truths?|gts?|masks?|tri[\W_]?maps?|segmentations?"
    r"|segmentation[\W_]?(class|object)|image[\W_]?sets|bbox(es)?|bounding[\W_]?box(es)?|xmls?"
    r"|jsons?|landmarks?|key[\W_]?points?|attributes|parts|meta[\W_]?data",
    re.IGNORECASE,
)
_MASK = re.compile(
    r"(.*[^\s._-])[\s._-]+(?:mask|seg|segmentation|gt|groundtruth|annotation)(?:[\W_]*\d+)?\.\w+",
    re.DOTALL,
)
# Looked for first, at a fifth of the time: hardly a file of a million is named so.
_PERHAPS = re.compile("mask|seg|gt|groundtruth|annotation")


def is_noted(folder: str) -> bool:
    """Tell whether a folder is named as one of what is noted of images, and not of a class."""
    rest, _ = name_and_part(os.path.basename(folder))
    return _NOTED.fullmatch(rest) is not None


def images_beside_notes(tree: Tree, folder: str) -> str | None:
    """Say why a folder is not read that has images in one folder, and masks or notes in another."""
    folders = tree.folders(folder)
    noted = [each for each in folders if is_noted(each)]
    images = [each for each in folders if each not in noted and _is_of_images(each)]
    names = base_names(folders)
    whole = len(noted) + len(images) == len(folders)
    if not (noted and images and whole) or tree.wanted & set(names):
        return None
    beside = f"{folder!r} has {listed(base_names(images))} beside {listed(base_names(noted))}"
    if any(map(tree.filled, images)):
        return f"{beside}, which are by their names no classes: give {images[0]!r} instead"
    hint = where_labels_are([folder, *images, *noted], images[0])
    return (
        f"{beside}: by their names images and what is noted of them, so that nothing says which "
        f"class each image is of: {hint or 'sort the images into a folder for each class'}; or "
        f"class_names={names!r}, if these are the classes"
    )


def _is_of_images(folder: str) -> bool:
    name = os.path.basename(folder).casefold()
    return part_of(name) is None and (holds_images_by_name(name) or name == "jpegimages")


def mask_notes(paths: Callable[[], Iterable[str]]) -> list[str]:
    """Return a note on files that are named as masks of others: cat_mask.png beside cat.png.

    Args:
        paths: gives all of them, as often as it is called: a million are not held at once.
    """
    masked = {path: stem for path in paths() if (stem := _masked(path))}
    if not masked:
        return []
    wanted = set(masked.values())
    there = {stem for path in paths() if (stem := os.path.splitext(path)[0]) in wanted}
    masks = [path for path, of in masked.items() if of in there]
    if not masks:
        return []
    named, are = ("file is", "it is") if len(masks) == 1 else ("files are", "they are")
    return [
        f"{len(masks):,} {named} named as a mask of the image beside, e.g. {masks[0]!r}: {are} "
        "learnt from as any image; move away what are masks"
    ]


def _masked(path: str) -> str:
    """Say what an image is called that a file is named as the mask of; "" where it is none."""
    found = _MASK.fullmatch(path) if _PERHAPS.search(path[-32:]) else None
    return found[1] if found else ""
