"""Images without labels, as they come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from ktransfer.data.reading.arrays import as_array, held_array
from ktransfer.data.reading.items import is_array, is_item, is_one_array, is_path, read_items
from ktransfer.data.reading.paths import read_paths
from ktransfer.data.sources.source import Options, Source, Unlabelled, refused, unlabelled


class Images(Source):
    """An array of images, an image, or a list, a generator or the like of images or of paths."""

    @classmethod
    def accepts(cls, data: Any, *, labelled: bool) -> bool:
        """Tell whether it is one of these; of a list the first item tells."""
        if is_item(data):
            return True
        if isinstance(data, tuple) and labelled:
            return False
        if isinstance(data, list | tuple) and data:
            nested = isinstance(data, list) and isinstance(data[0], list)
            return is_item(data[0]) or is_path(data[0]) or nested
        frame_or_parts = hasattr(data, "columns") or isinstance(data, Mapping)
        return isinstance(data, Iterable) and not frame_or_parts

    def read_images(self, options: Options) -> Unlabelled:
        """Return all of them."""
        data = self.data
        if is_one_array(data):
            return unlabelled(held_array(data, "the array", options.value_range, several=False))
        if is_array(data):  # of paths, or of encoded images
            several = as_array(data, "the array").ravel().tolist()
            return self.source_of(several, labelled=False).read_images(options)
        return self._of_items([data] if is_item(data) else data, options)

    def _of_items(self, given: Iterable[Any], options: Options) -> Unlabelled:
        several, paths = iter(given), list[Any]()
        for each in several:
            if not is_path(each):
                every = itertools.chain(paths, [each], several)
                found = read_items(every, "the images", options.value_range)
                return unlabelled(found.images, found.skipped)
            paths.append(each)
        if len(paths) != 1:
            return read_paths(paths)
        return self.source_of(paths[0], labelled=False).read_images(options)

    def files(self) -> Iterator[str]:
        """Return those of paths in a list."""
        return self.files_of(self.data if isinstance(self.data, list | tuple) else ())

    def read_data(self, *_: Any, **__: Any) -> NoReturn:
        """Raise an `InputError`: they have no labels."""
        raise refused(self.data)

    read_train = read_labelled = read_data
