"""Writing zip archives, whatever the clock says.

A zip archive knows no time before 1980, which is what a machine without a battery, or without a
network yet, believes it to be; Python's and Keras' own writers raise there. Members written here
say 1980.
"""

from __future__ import annotations

import shutil
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ktransfer.files.archives import MODEL_MEMBERS
from ktransfer.files.scratch import scratch

if TYPE_CHECKING:
    import keras

_FIRST_YEAR = 1980


def append_members(path: Path, members: dict[str, str | bytes]) -> None:
    """Append files to a zip archive, or a zip archive to any other file.

    Args:
        path: of the archive.
        members: contents by name; text is written as UTF-8.
    """
    with zipfile.ZipFile(path, "a") as archive:
        for name, contents in members.items():
            archive.writestr(_member(name), contents)


def save_model(model: keras.Model, path: Path) -> None:
    """Save a Keras model as `model.save` does.

    Args:
        model: built.
        path: ends in `.keras`.

    Raises:
        OSError: it cannot be written; h5py reports a full disk as a RuntimeError.
    """
    if time.localtime().tm_year >= _FIRST_YEAR:
        model.save(path)
        return
    # Keras itself would give the member of the weights the time of the clock (3.15.1).
    with scratch(path.absolute().parent) as folder:
        model.save(folder / "model", zipped=False)
        with zipfile.ZipFile(path, "w") as archive:
            for name in MODEL_MEMBERS:
                with (
                    (folder / "model" / name).open("rb") as source,
                    archive.open(_member(name), "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, 2**20)


def _member(name: str) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)  # of 1980
    found.external_attr = 0o600 << 16  # as Python's own writer: to be read by its owner
    return found
