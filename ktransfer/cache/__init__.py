"""A store on disk of what a frozen network said of a set of images, found again by its content.

    STORE/KEY/values.bin       the rows, C order
    STORE/KEY/indices.bin      int32, the index of each row's image
    STORE/KEY/entry.json       format, key, shape, dtype, checksums, and what is said about it
    STORE/.partial-1a2b3c4d/   an entry that is being built or deleted

A key is the SHA-256 of all that decides the values, so an entry is never out of date. An entry
comes and goes by one rename of its folder, so it is at every moment whole or not there, whoever is
killed; processes share a store without a lock. Nothing is pickled.
"""

from ktransfer.cache.draft import Draft
from ktransfer.cache.entry import DTYPES, Entry
from ktransfer.cache.key import FORMAT, content_key
from ktransfer.cache.place import DEFAULT_LIMIT_MB, CacheUnavailable, default_folder
from ktransfer.cache.store import Store

__all__ = [
    "DEFAULT_LIMIT_MB",
    "DTYPES",
    "FORMAT",
    "CacheUnavailable",
    "Draft",
    "Entry",
    "Store",
    "content_key",
    "default_folder",
]
