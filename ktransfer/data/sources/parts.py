"""Parts that are given one by one, each of them a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ktransfer.data.parts import listed
from ktransfer.data.reading.part_names import part_of
from ktransfer.data.sources.numpy_file import kind_of
from ktransfer.data.sources.source import (
    ACCEPTED,
    EVALUATED,
    Contents,
    Found,
    HeldSource,
    Names,
    Options,
    Unlabelled,
    shown,
)
from ktransfer.errors import InputError, unknown_name

_PARTS = ("train", "validation", "test")


class Parts(HeldSource):
    """A dict with the keys train, validation and test, or a tuple in this order."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is a mapping, or a tuple that may hold parts."""
        return isinstance(data, Mapping) or (isinstance(data, tuple) and len(data) in (2, 3))

    def contents(self, class_names: Names | None, options: Options) -> Contents:
        """As of every source that is held."""
        sources = self._by_part()
        if "train" not in sources:
            raise InputError(
                f"the data has the parts {listed(list(sources))} but no train; {ACCEPTED}"
            )
        train = self.source_of(sources.pop("train")).read_train(class_names, options)
        parts, skipped, notes = dict(train.parts), [*train.skipped], [*train.notes]
        for name, data in sources.items():
            source = self.source_of(data)
            if source.is_empty():
                notes.append(f"the {name} part is empty: not used")
                continue
            asked = replace(options, preferred=(name, *EVALUATED), part=name)
            found, lost, remarks = source.read_labelled(train.class_names, asked)
            parts[name] = replace(found, name=name)
            skipped += lost
            notes += remarks
        return Contents(parts, train.class_names, tuple(skipped), tuple(notes))

    def read_train(self, class_names: Names | None, options: Options) -> Contents:
        """Raise an `InputError`: parts have no parts."""
        raise InputError(f"the train part is made of parts again: {shown(self.data)}")

    def read_labelled(self, class_names: Names, options: Options) -> Found:
        """As of every source; the other parts are not read."""
        sources = self._by_part()
        given = [each for each in options.preferred if each in sources]
        filled = (each for each in given if not self.source_of(sources[each]).is_empty())
        own = next(filled, given[0])
        source = self.source_of(sources[own])
        found, skipped, notes = source.read_labelled(class_names, replace(options, part=own))
        return replace(found, name=own), skipped, notes

    def read_images(self, options: Options) -> Unlabelled:
        """Return those of the test part, of validation or of train."""
        sources = self._by_part()
        chosen = sources[next(each for each in EVALUATED if each in sources)]
        return self.source_of(chosen, labelled=False).read_images(options)

    def files(self) -> Iterator[str]:
        """Return those of all parts."""
        return self.files_of(self.data.values() if isinstance(self.data, Mapping) else self.data)

    def _by_part(self) -> dict[str, Any]:
        """Say what each part is given as, train first."""
        data = self.data
        pairs = data.items() if isinstance(data, Mapping) else zip(_PARTS, data, strict=False)
        found: dict[str, Any] = {}
        for key, source in pairs:
            part = part_of(str(key))
            if part is None:
                raise InputError(f"{unknown_name('part', str(key), _PARTS)}{_as_a_pair(data)}")
            if part in found:
                raise InputError(f"the data has two parts named {part}: {listed(list(data))}")
            found[part] = source
        if not found:
            raise InputError(f"the data has no parts; {ACCEPTED}")
        return {part: found[part] for part in _PARTS if part in found}


def _as_a_pair(data: Any) -> str:
    """Say how to give images and labels that are no parts; "" where they are not such."""
    keys = [each for kind in ("images", "labels") for each in data if kind_of(each) == kind]
    return f" Give a pair, (data[{keys[0]!r}], data[{keys[1]!r}])" if len(keys) == 2 else ""
