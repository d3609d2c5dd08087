"""Model files that nobody makes by accident: they lead out, bring code, or fill the memory."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Members = dict[str, bytes]

SECRET = "/etc/passwd"
_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"


def members_of(path: Path) -> Members:
    """What a `.keras` file holds, by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: Members, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A `.keras` file of these members, as Keras writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return file.getvalue()


def hostile_models(members: Members) -> dict[str, Callable[[], bytes]]:
    """Each hostile file by what it tries; none may be loaded."""
    made: dict[str, Callable[[], bytes]] = {}
    for name in ("../../evil", SECRET, "a/../../b", "C:/evil", "..\\evil", "assets/x", "x"):
        made[f"a member named {name!r}"] = lambda name=name: packed({**members, name: b"evil"})
    for name in members:
        made[f"no {name}"] = lambda name=name: packed(
            {key: each for key, each in members.items() if key != name}
        )
        made[f"{name} as a link"] = lambda name=name: _with_kind(members, name, stat.S_IFLNK)
        made[f"{name} as a pipe"] = lambda name=name: _with_kind(members, name, stat.S_IFIFO)
        made[f"{name} twice"] = lambda name=name: _doubled(members, name)
        made[f"{name} empty"] = lambda name=name: packed({**members, name: b""})
    made["compressed"] = lambda: packed(members, compression=zipfile.ZIP_DEFLATED)
    made["a bomb"] = lambda: packed(
        {**members, _WEIGHTS: bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED
    )
    made["encrypted"] = lambda: _encrypted(packed(members))
    made["weights of NumPy"] = lambda: _numpy_weights(members)
    for name, text in _configurations(members[_CONFIG]):
        made[name] = lambda text=text: packed({**members, _CONFIG: text})
    for name, change in _WEIGHT_FILES.items():
        made[name] = lambda change=change: packed(
            {**members, _WEIGHTS: _changed_weights(members[_WEIGHTS], change)}
        )
    return made


def _with_kind(members: Members, name: str, kind: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for key, contents in members.items():
            info = zipfile.ZipInfo(key)
            info.external_attr = (kind if key == name else stat.S_IFREG) | 0o644
            info.external_attr <<= 16
            archive.writestr(info, contents)
    return file.getvalue()


def _doubled(members: Members, name: str) -> bytes:
    # Two names of one length, the second made the same in the bytes: zipfile warns otherwise.
    other = "Z" * len(name)
    return packed({**members, other: members[name]}).replace(other.encode(), name.encode())


def _encrypted(data: bytes) -> bytes:
    changed = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        starts = [each.header_offset + 6 for each in archive.infolist()]
        at = archive.start_dir
    for start in list(starts):
        at = data.index(b"PK\x01\x02", at) + 8
        changed[start] |= 1
        changed[at] |= 1
    return bytes(changed)


def _numpy_weights(members: Members) -> bytes:
    file = io.BytesIO()
    np.savez(file, evil=np.array([{"a": 1}], object))
    rest = {key: each for key, each in members.items() if key != _WEIGHTS}
    return packed({**rest, "model.weights.npz": file.getvalue()})


def _configurations(text: bytes) -> Iterator[tuple[str, bytes]]:
    first = {
        "a Lambda layer": _layer(
            "Lambda", {"function": {"class_name": "__lambda__", "config": {}}}
        ),
        "a layer of TensorFlow": _layer("TFSMLayer", {"filepath": SECRET}),
        "a layer of torch": _layer("TorchModuleWrapper", {"module": "gASVAAAAAAAAAIwA"}),
        "a vocabulary in a file": _layer("StringLookup", {"vocabulary": SECRET}),
        "a class of os": {"module": "os", "class_name": "system", "config": {}},
        "a class of subprocess": {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", "/tmp/evil"]},
            "registered_name": "evil>Popen",
        },
        "a class named by a list": {"module": ["os"], "class_name": ["system"], "config": {}},
        "a function that loads": _function("keras.models", "load_model"),
        "a function that downloads": _function("keras.utils", "get_file"),
        "a function of Keras' settings": _function("keras.config", "enable_unsafe_deserialization"),
        "a function of the tests": _function("tests.conftest", "small_network"),
    }
    for name, layer in first.items():
        config = json.loads(text)
        config["config"]["layers"][1] = {
            **config["config"]["layers"][1],
            **layer,
        }
        yield name, json.dumps(config).encode()
    yield "far more weights", text.replace(b'"filters": 4', b'"filters": 4000000000')
    yield "a configuration that nests deep", b'{"a":' * 500 + b"1" + b"}" * 500
    yield "a configuration that nests too deep", b"[" * 200_000
    yield "a configuration that is a list", b"[]"
    yield "a configuration that is a number", b"1" * 5_000
    yield "a configuration in another encoding", text.decode().encode("utf-16")
    yield "a field twice", text.replace(b"{", b'{"module": "os", "module": "os", ', 1)


def _layer(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": name, "config": {"name": "evil", **config}}


def _function(module: str, name: str) -> dict[str, Any]:
    own = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return {"config": {"name": "evil", "activation": own}, "class_name": "Activation"}


def _changed_weights(data: bytes, change: Callable[[h5py.Group], None]) -> bytes:
    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        holder = next(each["vars"] for each in opened["layers"].values() if "0" in each["vars"])
        change(holder)
    return file.getvalue()


def _replaced(holder: h5py.Group, link: Any) -> None:
    del holder["0"]
    holder["0"] = link


def _external(holder: h5py.Group) -> None:
    shape, dtype = holder["0"].shape, holder["0"].dtype
    del holder["0"]
    holder.create_dataset("0", shape, dtype, external=[(SECRET, 0, h5py.h5f.UNLIMITED)])


def _virtual(holder: h5py.Group) -> None:
    shape, dtype = holder["0"].shape, holder["0"].dtype
    del holder["0"]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(SECRET, "data", shape=shape)
    holder.create_virtual_dataset("0", layout)


def _huge(holder: h5py.Group) -> None:
    del holder["0"]
    holder.create_dataset("0", (2**20, 2**20), "float32", chunks=(2**10, 2**10), fillvalue=1.0)


def _circle(holder: h5py.Group) -> None:
    holder["again"] = holder.parent


def _texts(holder: h5py.Group) -> None:
    del holder["0"]
    holder["0"] = ["a", "b"]


_WEIGHT_FILES: dict[str, Callable[[h5py.Group], None]] = {
    "a link to another file": lambda holder: _replaced(holder, h5py.ExternalLink(SECRET, "/")),
    "a soft link": lambda holder: _replaced(holder, h5py.SoftLink("/nowhere")),
    "an array in another file": _external,
    "an array made of another file": _virtual,
    "an array of 4 TB that is not there": _huge,
    "groups in a circle": _circle,
    "texts for weights": _texts,
}
