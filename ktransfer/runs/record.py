"""The record of a run, `run.json`: reading it, and checking every field that anything rests on."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ktransfer.errors import RunError
from ktransfer.files.reading import read_json

FORMAT = 1
#: Of runs that read images of more than 8 bits by a range of their own: who does not know of it
#: would show them black, and must not load them.
FORMAT_WITH_RANGE = 2
RECORD_NAME = "run.json"
MAX_RECORD_MB = 64
MODEL_NAME = re.compile(r"model-[0-9a-f]{8}\.keras")
#: What lies beside a model: digests of the images that it learnt from, and what they look like.
SIDES = ("learnt", "familiar")
SIDE_NAME = re.compile(rf"({'|'.join(SIDES)})-[0-9a-f]{{8}}\.npz")


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a run, checked, without loading its model.

    Raises:
        RunError: no run there, or a damaged or unknown record.
    """
    path = Path(folder)
    source = path / RECORD_NAME
    if not os.path.isdir(path):
        raise RunError(f"no such run: {path} is not a folder")
    if not os.path.lexists(source):
        raise RunError(
            f"{path} holds no {RECORD_NAME}: it is no run, or its training never finished"
        )
    record = read_json(source, most_mb=MAX_RECORD_MB)
    _check_record(record, source)
    return dict(record)


def _check_record(record: Any, source: Path) -> None:
    if not isinstance(record, dict) or "format" not in record:
        raise RunError(f"{source} is damaged: it is not a record of a run")
    if type(record["format"]) is not int or record["format"] not in (
        FORMAT,
        FORMAT_WITH_RANGE,
    ):
        writer = record.get("ktransfer")
        which = f"version {_short(writer)}" if isinstance(writer, str) else "the version"
        raise RunError(
            f"{source} has format {_short(record['format'])}; this version of ktransfer reads "
            f"format {FORMAT} and {FORMAT_WITH_RANGE}: load it with {which} that wrote it, or "
            "train again"
        )
    _check_fields(record, _FIELDS, source)
    _check_fields(record["backbone"], _BACKBONE_FIELDS, source)
    name, digest = record["model_file"], record["model_sha256"]
    if not MODEL_NAME.fullmatch(name):
        raise RunError(
            f"{source} is damaged: model_file {_short(name)} leads out of the run, or is no name "
            "of a model of ours"
        )
    if name != f"model-{digest[:8]}.keras":
        raise RunError(f"{source} is damaged: model_file {name!r} is not that of its checksum")


def _check_fields(
    record: dict[str, Any], fields: dict[str, tuple[Callable[[Any], bool], str]], source: Path
) -> None:
    for name, (fits, words) in fields.items():
        if not fits(record.get(name)):
            got = f": got {_short(record[name])}" if name in record else ""
            raise RunError(
                f"{source} is damaged: its field {name!r} is missing or not {words}{got}"
            )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_count(value: Any) -> bool:
    """A whole number from 0 that arrays can hold."""
    return type(value) is int and 0 <= value < 2**63


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1


def _are_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(map(_is_text, value))
        and len(set(value)) == len(value)
    )


def _are_blocks(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(row, list) and len(row) == 3 for row in value)
        and all(_is_text(name) and _is_count(a) and _is_count(b) for name, a, b in value)
    )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_data(value: Any) -> bool:
    """What `runs.seen.record_of` says; nothing for a model that was trained elsewhere."""
    if not isinstance(value, dict) or not value:
        return isinstance(value, dict)
    held = value.get("held_back")
    return (
        _is_text_or_none(value.get("source"))
        and _is_count(value.get("images"))
        and isinstance(value.get("contents"), str)
        and (held is None or (isinstance(held, list) and all(map(_is_text, held))))
        and _is_range_or_none(value.get("value_range"))
    )


def _is_range_or_none(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and len(value) == 2
        and all(type(each) in (int, float) and math.isfinite(each) for each in value)
        and value[0] < value[1]
    )


def _is_side(name: str) -> Callable[[Any], bool]:
    """Make a check of where a side file lies; runs of before it was kept have none."""

    def fits(value: Any) -> bool:
        return value is None or (
            isinstance(value, dict)
            and _is_digest(value.get("sha256"))
            and value.get("file") == f"{name}-{value['sha256'][:8]}.npz"
        )

    return fits


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_file": (_is_text, "a name"),
    "model_sha256": (_is_digest, "64 hexadecimal digits"),
    "class_names": (_are_names, "a list of different names"),
    "blocks": (_are_blocks, "a list of [name, parameters, trained parameters]"),
    "pooling": (_is_text, "a name"),
    "dropout": (_is_share, "a number from 0 and under 1"),
    "seed": (_is_count, "a whole number from 0"),
    "data": (_is_data, "what was noted of the images"),
    **{name: (_is_side(name), "a file of ours and its checksum") for name in SIDES},
    "request": (_is_object, "an object"),
    "result": (lambda value: value is None or isinstance(value, dict), "an object or null"),
    "backbone": (_is_object, "an object"),
}
_BACKBONE_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_text, "a name"),
    "last_operation": (_is_text, "a name"),
    "weights": (_is_text_or_none, "a name or null"),
    "options": (_is_object, "an object"),
}
