"""Archives and weights files, looked through before a library reads them.

Nothing in them may lead out of them, bring code, or be larger than it says. What is wrong is a
`DamageError` with the reason; who reads the file names it.
"""

from __future__ import annotations

import contextlib
import io
import stat
import sys
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ktransfer.errors import RunError
from ktransfer.files.reading import open_plain, parse_json

MODEL_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
MOST_CONFIG_MB = 16
_LONGEST_CAUSE = 2_000
_ENCRYPTED = 0x1 | 0x40


class DamageError(ValueError):
    """What was read is damaged, or nothing of ours; the message says in which way."""


def check_members(archive: zipfile.ZipFile, size: int, names: Collection[str] | None) -> None:
    """Look at the directory of a zip archive that was written uncompressed.

    Args:
        archive: it.
        size: bytes of the file.
        names: the members that must be there, and no others; None: any `.npy` files.

    Raises:
        DamageError: a member leads out, is a link, encrypted, compressed, there twice, or not
            expected; or they say to be larger than the file.
    """
    found = [each.filename for each in archive.infolist()]
    if len(set(found)) != len(found):
        raise DamageError("it holds two members of one name")
    if names is not None and set(found) != set(names):
        raise DamageError(f"it holds {_named(found)} instead of {_named(names)}")
    for each in archive.infolist():
        _check_member(each)
    # Members that overlap would say more in all than there is: so a bomb of them is found, too.
    if sum(each.file_size for each in archive.infolist()) > size:
        raise DamageError("its members say to be larger than the file")


def _check_member(each: zipfile.ZipInfo) -> None:
    parts = each.filename.replace("\\", "/").split("/")
    if not all(parts) or set(parts) & {".", ".."} or ":" in parts[0]:
        raise DamageError(f"its member {each.filename[:60]!r} leads out of it")
    kind = stat.S_IFMT(each.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DamageError(f"its member {each.filename[:60]!r} is a link or no plain file")
    if each.flag_bits & _ENCRYPTED:
        raise DamageError(f"its member {each.filename[:60]!r} is encrypted")
    if each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size:
        raise DamageError(f"its member {each.filename[:60]!r} is compressed, which ours are not")


def _named(names: Collection[str]) -> str:
    return ", ".join(repr(each[:60]) for each in sorted(names)[:5]) or "nothing"


@contextlib.contextmanager
def _as_damage() -> Iterator[None]:
    """Damage makes zipfile, NumPy and h5py raise nearly anything; here it gets one name."""
    try:
        yield
    except (RunError, DamageError):
        raise
    except Exception as error:
        cause = f"{error or type(error).__name__}"
        # zipfile, for one, repeats what it found in the place of a name: all of the archive.
        cause = cause if len(cause) <= _LONGEST_CAUSE else f"{cause[:_LONGEST_CAUSE]} ..."
        raise DamageError(cause) from error


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` file that was saved uncompressed.

    Every byte is checked (CRC-32).

    Raises:
        DamageError: it is damaged, or not of this kind. Nothing is unpickled.
    """
    with _as_damage():
        size = file.seek(0, io.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            check_members(archive, size, None)
            return {each.removesuffix(".npy"): _array(archive, each) for each in archive.namelist()}


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    if not name.endswith(".npy"):
        raise DamageError(f"its member {name[:60]!r} is no array")
    contents = io.BytesIO(archive.read(name))
    array: np.ndarray = np.lib.format.read_array(contents, allow_pickle=False)
    if contents.read(1):
        raise DamageError(f"its member {name[:60]!r} is longer than its array")
    return array


def check_model_file(path: Path, *, compiled: bool = True) -> int:
    """Look through a `.keras` file before Keras reads it.

    Args:
        path: the file.
        compiled: whether Keras will also read what the model was compiled with.

    Returns:
        How many bytes its weights have.

    Raises:
        DamageError: it is damaged, or none that Keras wrote; or its configuration would bring code
            or other files along.
        RunError: it is no plain file.
    """
    with open_plain(path) as file, _as_damage():
        size = file.seek(0, io.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            check_members(archive, size, MODEL_MEMBERS)
            for name in MODEL_MEMBERS[:2]:
                if archive.getinfo(name).file_size > MOST_CONFIG_MB * 2**20:
                    raise DamageError(f"its {name} is larger than {MOST_CONFIG_MB} MB")
                said = parse_json(archive.read(name))
                if not compiled and isinstance(said, dict):
                    said.pop("compile_config", None)
                check_config(said)
            weights = archive.read("model.weights.h5")
    return check_weights(io.BytesIO(weights))


def read_config(path: Path) -> str:
    """Return the configuration in a `.keras` file that was looked through, as JSON."""
    with open_plain(path) as file, zipfile.ZipFile(file) as archive:
        return archive.read(MODEL_MEMBERS[1]).decode()


#: Where the classes of a model may come from: Keras' own parts that hold no tools for files.
_PARTS = (
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "random",
    "regularizers",
)
#: And functions, of which `keras.models` has some that load files.
_FUNCTIONS = ("activations", "losses", "metrics", "ops")
#: These run code of the file, or read a path that it names.
_REFUSED = (
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
    "__lambda__",
    "__typespec__",
)


def check_config(config: Any) -> None:
    """Look through the configuration of a model for what could bring code or other files along.

    Raises:
        DamageError: it is no object; or names a class that runs code of the file or reads other
            files, or one of neither Keras, KerasHub nor registered.
    """
    if not isinstance(config, dict):
        raise DamageError("its configuration is no JSON object")
    waiting: list[Any] = [config]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "class_name" in each:
                _check_class(each)
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)


def _check_class(config: dict[str, Any]) -> None:
    import keras  # here: the arrays of a checkpoint need no Keras

    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    texts = [each for each in (name, module, registered) if each is not None]
    if not isinstance(name, str) or not all(isinstance(each, str) for each in texts):
        raise DamageError(f"its configuration has a class of the name {str(name)[:60]!r}")
    if name in _REFUSED:
        raise DamageError(f"its layer {name[:60]!r} would run code of the file or read other files")
    known = keras.saving.get_custom_objects()
    if module in (None, "builtins") or registered in known or name in known:
        return
    root, *parts = [part for part in module.split(".") if part != "src"]
    allowed = _FUNCTIONS if name == "function" else _PARTS
    if root == "keras" and (parts[0] in allowed if parts else name != "function"):
        return
    if root == "keras" and parts[0] == "applications" and _is_layer(name, module):
        return
    if root == "keras_hub" and name != "function":
        return
    raise DamageError(
        f"its class {name[:60]!r} of {module[:60]!r} is none of Keras or KerasHub, and is not "
        "registered"
    )


def _is_layer(name: str, module: str) -> bool:
    """Tell whether a loaded module defines a layer of that name.

    ConvNeXt and InceptionResNetV2 have layers of their own beside their constructors, which
    download.
    """
    import keras

    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(found, keras.Layer) and found.__module__ == module


_KNOWN_FILTERS = (1, 2, 3, 32_000)  # deflate, shuffle, fletcher32, lzf
_MOST_TIMES = 1_100  # deflate makes no more of a byte
_MOST_OBJECTS = 200_000
#: Attributes that Keras reads; long ones are numbered.
_READ_ATTRIBUTES = ("backend", "dtype", "keras_version", "layer_names", "weight_names")


def check_weights(file: BinaryIO) -> int:
    """Look through an HDF5 file of weights before Keras reads it.

    Args:
        file: it, open.

    Returns:
        How many bytes its arrays have.

    Raises:
        DamageError: it is damaged; a link in it leads elsewhere; an array lies in another file,
            holds no numbers, or says to be larger than the file can hold.
    """
    import h5py

    with _as_damage():
        size = file.seek(0, io.SEEK_END)
        with h5py.File(file, "r") as opened:
            total, with_heaps = _look_through(opened, size)
        if with_heaps:
            file.seek(0)
            check_heaps(file.read())
    return total


def _look_through(opened: Any, size: int) -> tuple[int, bool]:
    """Return the bytes of all arrays, and whether Keras will read attributes that lie in a heap."""
    import h5py

    total, seen, waiting = 0, {h5py.h5o.get_info(opened.id).addr}, [opened]
    with_heaps = _has_heap(opened)
    while waiting:
        group = waiting.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise DamageError(f"its {name[:60]!r} is a link that leads elsewhere")
            found = group[name]
            address = h5py.h5o.get_info(found.id).addr
            if address in seen or len(seen) > _MOST_OBJECTS:
                raise DamageError("its groups go round in circles, or are far too many")
            seen.add(address)
            with_heaps |= _has_heap(found)
            if isinstance(found, h5py.Group):
                waiting.append(found)
            else:
                total += _check_array(found, name, size)
    if total > max(size, 2**20) * 20:
        raise DamageError("its arrays say to be far larger than the file")
    return total, with_heaps


def _has_heap(found: Any) -> bool:
    read = [name for name in found.attrs if name.rstrip("0123456789") in _READ_ATTRIBUTES]
    return any(found.attrs.get_id(name).dtype.hasobject for name in read)


def _check_array(array: Any, name: str, size: int) -> int:
    """Return the bytes of one array, if it is one that lies in this file."""
    import h5py

    if not isinstance(array, h5py.Dataset):
        raise DamageError(f"its {name[:60]!r} is no array")
    plist, stored = array.id.get_create_plist(), array.id.get_storage_size()
    if plist.get_external_count() or plist.get_layout() == h5py.h5d.VIRTUAL:
        raise DamageError(f"its array {name[:60]!r} lies in another file")
    if array.dtype.kind not in "biufV" or array.dtype.hasobject or array.dtype.names is not None:
        raise DamageError(f"its array {name[:60]!r} holds no numbers")
    filters = [plist.get_filter(at)[0] for at in range(plist.get_nfilters())]
    if not set(filters) <= set(_KNOWN_FILTERS):
        raise DamageError(f"its array {name[:60]!r} is packed in an unknown way")
    if array.nbytes > (_MOST_TIMES if filters else 1) * stored or stored > size:
        raise DamageError(f"its array {name[:60]!r} says to be larger than what is stored of it")
    if array.chunks and np.prod(array.chunks, dtype=float) * array.dtype.itemsize > 2**32:
        raise DamageError(f"its array {name[:60]!r} is in pieces of over 4 GB")
    return int(array.nbytes)


def check_heaps(contents: bytes) -> None:
    """Look through the heaps where an HDF5 file keeps text of variable length.

    HDF5 1.14.6 goes round for ever in a heap with a free object of size 0, and outside of it where
    a size is too large: both were seen after single bytes had changed.

    Raises:
        DamageError: the objects of a heap do not fill it.

    Source: "Global Heap" in the HDF5 File Format Specification, version 3.
    """
    start = contents.find(_HEAP)
    while start >= 0:
        size = int.from_bytes(contents[start + 8 : start + 16], "little")
        at = start + 16
        end = start + size
        if end > len(contents):
            raise DamageError("a heap of it is cut off")
        while at + 16 <= end:
            index = int.from_bytes(contents[at : at + 2], "little")
            length = int.from_bytes(contents[at + 8 : at + 16], "little")
            need = length if index == 0 else 16 + (length + 7) // 8 * 8
            if need < 16 or at + need > end:
                raise DamageError("a heap of it is damaged")
            at += need
        start = contents.find(_HEAP, start + 1)


#: The signature and the one version there is.
_HEAP = b"GCOL\x01"
