"""What people call the parts of a data set: folders, columns of tables, splits, keys of a dict."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: The words for a part, in small letters.
PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validate": "validation",
    "dev": "validation",
    "development": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
    # As FER2013 and competitions call the halves of what is held out.
    "publictest": "validation",
    "privatetest": "test",
}

# What may stand beside the word and says nothing: train_set, seg_train, img-val, training data.
_FILLERS = "set|sets|data|dataset|split|seg|image|images|img|imgs|photo|photos|picture|pictures"
_GLUED = re.compile(f"({'|'.join(PART_NAMES)})(?:{_FILLERS})")
_FILLER_WORDS = frozenset(_FILLERS.split("|"))
_PIECES = {"images", "imgs", "photos", "pictures", "part", "batch", "chunk", "shard", "archive"}
_FOLD = re.compile(r"(?:k[\W_]*)?(?:fold|cv|split)[\W_]*\d+", re.IGNORECASE)


def part_of(name: str) -> str | None:
    """Return the part that a name stands for; None where it is none.

    In any case, with hyphens, underscores or blanks, and with words that say nothing beside it.

    Example:
        >>> part_of("Training-Set"), part_of("seg_test"), part_of("dev"), part_of("train station")
        ('train', 'test', 'validation', None)
    """
    rest, part = name_and_part(name)
    return part if not rest else None


def name_and_part(name: str) -> tuple[str, str | None]:
    """Say what else a name says, and the part in it: ("cats", "train") of "cats_train".

    The part is None where the name has no word for one, or several.
    """
    name_as_one = re.sub(r"\b(public|private)[\W_]+(?=test\b)", r"\1", name.casefold())
    words = re.findall(r"[^\W_]+", name_as_one)
    # Numbers before the word order the folders, 1_train; a year behind it belongs to the set.
    if len(words) > 1 and words[0].isdecimal():
        words = words[1:]
    words = [re.sub(r"(?<=[^\W\d_])(?:19|20)\d\d$", "", word) for word in words]
    words = [word for word in words if not re.fullmatch(r"(?:19|20)\d\d", word)]
    parts = [found for word in words if (found := _part_word(word))]
    rest = [word for word in words if not _part_word(word)]
    if len(parts) != 1:
        return name, None
    return " ".join(word for word in rest if word not in _FILLER_WORDS), parts[0]


def _part_word(word: str) -> str | None:
    glued = _GLUED.fullmatch(word)
    return PART_NAMES.get(glued.group(1) if glued else word)


def holds_images_by_name(name: str) -> bool:
    """Tell whether a folder is named as one of images: images, img, jpg, train_images, test."""
    words = re.findall(r"[^\W_]+", name.casefold())
    plain = _FILLER_WORDS | {"jpg", "jpgs", "jpeg", "jpegs", "png", "pngs"}
    return part_of(name) is not None or (bool(words) and plain.issuperset(words))


def are_pieces(names: Sequence[str]) -> bool:
    """Tell whether names are of pieces of one set of images: images_001, images_002; part1, part2.

    Sets that are too large for one archive are divided so, whatever the images show.
    """
    alike = {re.sub(r"\d+", "", name.casefold()) for name in names}
    words = set(re.findall(r"[^\W\d_]+", names[0].casefold())) if names else set()
    return len(names) > 1 and len(alike) == 1 and bool(words & _PIECES)


def is_fold(name: str) -> bool:
    """Tell whether a name is that of a fold of cross-validation: fold_0, split-1, cv2."""
    return _FOLD.fullmatch(name) is not None
