"""What a run remembers of its data, so that no image that it was trained on is evaluated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ktransfer.data.images.value_range import ValueRange, given_range
from ktransfer.data.parts import Part, Splits, contents_digest
from ktransfer.data.sources.front import source_of

#: Hexadecimal digits of an image's digest that are kept; 64 bits tell a million images apart.
_DIGITS = 16

Record = dict[str, Any]


def record_of(data: Any, splits: Splits) -> Record:
    """Say what to remember, as plain data.

    Args:
        data: the source.
        splits: what was read from it.

    Returns:
        "source" (a path, a TFDS name or None), "images" and "contents" of train and what was held
        back of it together, "part": "test" where a test part was held back, else "validation",
        "held_back": the digests of its images, None where nothing was held back, and
        "value_range": the values that are black and white in images of more than 8 bits, None for
        those of each image's type.
    """
    held = [splits.validation] if splits.held_back else []
    held += [splits.test] if splits.test is not None and splits.test_held_back else []
    learnt = [splits.train, *(held or [splits.validation])]
    return {
        "source": splits.source if isinstance(data, Splits) else source_of(data).name,
        "images": sum(map(len, learnt)),
        "contents": contents_digest(learnt),
        "part": learnt[-1].name,
        "held_back": _digests(held[-1]) if held else None,
        "value_range": splits.value_range,
    }


def range_of(record: Mapping[str, Any]) -> ValueRange | None:
    """Return the `value_range` that a model learnt with, from what its run remembers."""
    return given_range(record.get("value_range"))


def held_back(data: Any, part: Part, record: Record) -> tuple[Part, tuple[str, ...]]:
    """Return the part to evaluate, and notes: where it was trained on, only what was held back.

    The data is known again by its place, or by the contents of its images, in any order and
    wherever they lie now.

    Args:
        data: the source to evaluate on.
        part: what was read from it; called "train" where the source has no parts, and then "all"
            where all of it is evaluated.
        record: of `record_of`; empty for a model that was trained elsewhere.
    """
    same_place = record.get("source") is not None and source_of(data).name == record["source"]
    whole = part.name == "train"
    if whole and record.get("held_back") is not None:
        same_contents = len(part) == record["images"] and (
            contents_digest([part]) == record["contents"]
        )
        if same_place or same_contents:
            return _chosen(part, record, changed=not same_contents)
    if whole:  # no test part: nobody knows what these images are
        return replace(part, name="all"), ()
    note = f"this is the data of the training: its {part.name} part is evaluated"
    return part, (note,) if same_place else ()


def _chosen(part: Part, record: Record, *, changed: bool) -> tuple[Part, tuple[str, ...]]:
    # Counted: of an image with a copy that was trained on, one is taken, as there was then.
    known: Counter[str] = Counter(record["held_back"])
    rows = []
    for row, digest in enumerate(_digests(part)):
        if known[digest] > 0:
            known[digest] -= 1
            rows.append(row)
    name = record.get("part", "validation")
    notes = [f"this is the data of the training: its {name} part is evaluated"]
    if changed:
        notes.append(
            f"the data has changed since: of {len(part)} images those {len(rows)} are evaluated "
            "that were held back then"
        )
    return replace(part.select(np.array(rows, np.int64)), name=name), tuple(notes)


def _digests(part: Part) -> list[str]:
    return [each.tobytes().hex()[:_DIGITS] for each in part.images.digests()]
