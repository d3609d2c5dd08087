"""How the folders below a folder are read: which of them are parts, and which are classes.

    photos/ants photos/bees                                classes alone
    photos/train/ants photos/val/ants                      parts, then classes
    photos/ants/train photos/ants/val                      classes, then parts
    archive/photos/train/ants, seg_train/seg_train/ants    with folders around them that say nothing

What can be read in two ways is a fault that shows both, unless the names of the classes are known.
"""

from __future__ import annotations

from collections.abc import Collection

from ktransfer.data.reading.arrangement import Arrangement, Draft, unwrapped
from ktransfer.data.reading.named_parts import beside_each_other, named_parts
from ktransfer.data.reading.nested_classes import check_classes, inside_classes
from ktransfer.data.reading.tree import Tree, base_names


def arranged(root: str, class_names: Collection[str] | None = None) -> Arrangement:
    """Say how a folder that exists is read; nothing is refused.

    Args:
        root: the folder.
        class_names: the classes that are to be found, where they are known: they decide between
            two readings.
    """
    tree = Tree(class_names or ())
    draft = Draft(tree, root)
    draft.folder = unwrapped(draft, root)
    names = set(base_names(tree.filled(draft.folder)))
    # What was asked for by name is a class, whatever its name. It may be divided inside.
    if names and names <= tree.wanted:
        inside_classes(draft, settled=True)
    else:
        _find_parts(draft)
    return draft.finished()


def _find_parts(draft: Draft) -> None:
    parts = named_parts(draft)
    if parts:
        beside_each_other(draft, parts)
    elif not inside_classes(draft):
        check_classes(draft)
