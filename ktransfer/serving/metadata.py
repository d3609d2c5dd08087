"""What an exported file says of itself: JSON under the key `ktransfer` of its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktransfer.data.images.value_range import ValueRange, given_range
from ktransfer.errors import InputError

FORMAT = 1
#: Of files that read images of more than 8 bits by a range of their own.
FORMAT_WITH_RANGE = 2
KEY = "ktransfer"

#: How images come to the input size: as of `data.images.resizing.crop_and_resize`.
RESIZING = "centre crop, means of whole squares, bilinear"

#: 20,000 classes with long names take 1 MB.
MAX_METADATA_MB = 16
MAX_INPUT_PX = 16_384

_FIELDS: dict[str, Any] = {
    "class_names": list,
    "input_size": list,
    "resizing": str,
}
_OPTIONAL: dict[str, Any] = {
    "versions": dict,
    "created": str,
    "data_sha256": str,
    "learnt": dict,
    "quantisation": str,
    "sealed": bool,
    "value_range": list,
}


_PLAIN = _OPTIONAL.keys() - {"versions", "value_range"}


@dataclass(frozen=True)
class ModelMetadata:
    """What an exported file says of itself.

    Attributes:
        class_names: the name of each output.
        input_size: `(height, width)` in pixels that images come to before the network.
        resizing: how they come to it.
        versions: of the programs that it was made with.
        created: when it was exported.
        data_sha256: of the images that it was trained on.
        learnt: how many images it was trained on ("train"), how many others its epoch was chosen on
            ("validation"), and the "digests" of all these in base64 (see `data.learnt`), None
            where they are too many.
        quantisation: "float16" or "int8"; None: its numbers are float32.
        sealed: whether the file ends with a checksum, as of `ktransfer.files.seal`.
        value_range: the values that are black and white in images of more than 8 bits; None: those
            of their type.
    """

    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    resizing: str
    versions: Mapping[str, str]
    created: str | None = None
    data_sha256: str | None = None
    learnt: Mapping[str, Any] | None = None
    quantisation: str | None = None
    sealed: bool = False
    value_range: ValueRange | None = None

    @classmethod
    def parse(cls, text: bytes) -> ModelMetadata:
        """Read the JSON of a file.

        Raises:
            ValueError: it is no JSON, of another format, or a field is missing or of another type.
        """
        if len(text) > MAX_METADATA_MB * 2**20:
            raise ValueError(f"its metadata is larger than {MAX_METADATA_MB} MB")
        try:
            record = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"its metadata is no JSON ({error})") from error
        if not isinstance(record, dict) or "format" not in record:
            raise ValueError("its metadata names no format")
        _check_format(record["format"])
        _check_fields(record)
        return cls(
            class_names=tuple(record["class_names"]),
            input_size=(record["input_size"][0], record["input_size"][1]),
            resizing=record["resizing"],
            versions=record.get("versions") or {},
            value_range=_value_range(record.get("value_range")),
            **{name: record[name] for name in _PLAIN & record.keys()},
        )


def _check_format(found: Any) -> None:
    if type(found) is not int or found not in (FORMAT, FORMAT_WITH_RANGE):
        raise ValueError(
            f"it has format {found!r}; this version of ktransfer reads format {FORMAT} and "
            f"{FORMAT_WITH_RANGE}: install the version of ktransfer that exported it, or a newer "
            "one"
        )


def _value_range(found: list[Any] | None) -> ValueRange | None:
    try:
        return given_range(found)
    except InputError as error:
        raise ValueError(f"the value_range of its metadata is none: {error}") from error


def _check_fields(record: dict[str, Any]) -> None:
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind):
            raise ValueError(f"the field {name!r} of its metadata is missing or no {kind.__name__}")
    for name, kind in _OPTIONAL.items():
        if not isinstance(record.get(name), kind | None):
            raise ValueError(f"the field {name!r} of its metadata is no {kind.__name__}")
    names, size = record["class_names"], record["input_size"]
    if not names or not all(isinstance(each, str) for each in names):
        raise ValueError("the class_names of its metadata are no names")
    if len(set(names)) < len(names):
        raise ValueError("the class_names of its metadata name a class twice")
    # type, as a bool is an int.
    if len(size) != 2 or not all(type(each) is int and 0 < each <= MAX_INPUT_PX for each in size):
        raise ValueError(f"the input_size of its metadata is no height and width: {size!r:.40}")
