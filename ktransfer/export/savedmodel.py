"""The SavedModel format: a folder that TensorFlow Serving takes as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from ktransfer.export.formats import FORMATS
from ktransfer.export.servable import servable

#: Where TensorFlow leaves room for files of one's own; an export is known again by it.
METADATA_NAME = FORMATS["savedmodel"].holds

_OWN_FOLDERS = ("assets", "assets.extra", "variables")
_OWN_FILES = (
    *("saved_model.pb", "fingerprint.pb", METADATA_NAME),
    *("variables/variables.index", "variables/variables.data-*"),
)


def write_savedmodel(
    model: keras.Model,
    input_size: tuple[int, int],
    path: Path,
    *,
    class_names: Sequence[str],
    metadata: str | None,
) -> None:
    """Save a model as a folder.

    Its signature `serving_default` takes `images`, uint8 `(batch, height, width, 3)` of any size,
    and gives `probabilities`; `class_names` takes nothing and gives `class_names`.

    Args:
        model: images `(batch, height, width, 3)` in [0, 255] to probabilities.
        input_size: `(height, width)` that the network sees.
        path: a new folder.
        class_names: one for each column of the probabilities.
        metadata: JSON, kept as a file of its own; None: none.
    """
    names = [name.encode("utf-8", "surrogateescape") for name in class_names]

    @tf.function(input_signature=[], autograph=False)
    def said() -> dict[str, tf.Tensor]:
        return {"class_names": tf.constant(names)}

    module = tf.Module()
    module.model = model  # its variables are saved with what can be reached from the module
    module.serve, module.names = servable(model, input_size), said
    tf.saved_model.save(
        module, str(path), signatures={"serving_default": module.serve, "class_names": said}
    )
    if metadata is not None:
        place = path / METADATA_NAME
        place.parent.mkdir()
        place.write_text(metadata, encoding="utf-8")


def replacing(written: Path, target: Path) -> tuple[dict[Path, Path], list[Path]]:
    """Say what `put_in_place` is to do for a SavedModel to take the place of an earlier one.

    A folder with nothing else in it is replaced as a whole. In one with notes or a `.git` these
    stay as they are: the files of the model are replaced one by one.

    Returns:
        From where to where, and the files of the earlier one that go.
    """
    own = {each for pattern in _OWN_FILES for each in target.glob(pattern)}
    folders = {target / each for each in _OWN_FOLDERS}
    if all(each in own or each in folders for each in target.rglob("*")):
        return {written: target}, []
    files = sorted(each for each in written.rglob("*") if each.is_file())
    moves = {each: target / each.relative_to(written) for each in files}
    return moves, sorted(own - set(moves.values()))
