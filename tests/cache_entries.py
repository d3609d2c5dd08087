"""Entries for the tests of the cache: storing them, looking at them and at what lies around."""

from pathlib import Path

import numpy as np

from ktransfer.cache import content_key

KEY = content_key(test="one")
SHAPE = (6, 3, 5)


def rows_of(dtype="float32", shape=SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def put(store, key=KEY, values=None, about=None, *, room=0, budget_mb=1.0):
    """Stores values in a draft with room for some more rows; row i is of image 2 i."""
    values = rows_of() if values is None else values
    shape = (len(values) + room, *values.shape[1:])
    with store.create(key, shape, values.dtype, about or {"network": "small"}) as draft:
        draft.values[: len(values)] = values
        return draft.commit(len(values), 2 * np.arange(len(values)), budget_mb=budget_mb)


def names_in(folder):
    return sorted(each.name for each in Path(folder).iterdir())


def partials(store):
    return [name for name in names_in(store.folder) if name.startswith(".partial-")]


def assert_holds(entry, values):
    np.testing.assert_array_equal(entry.values, values)
    assert entry.values.dtype == values.dtype
    np.testing.assert_array_equal(entry.indices, 2 * np.arange(len(values)))
    assert entry.indices.dtype == np.int32
