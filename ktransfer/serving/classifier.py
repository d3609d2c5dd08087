"""A classifier that is one exported file."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ktransfer.data.images.header import Skipped
from ktransfer.data.images.value_range import AUTO, ValueRange, range_to_read
from ktransfer.data.learnt import UNSEEN, Learnt
from ktransfer.data.parts import Part
from ktransfer.data.reading.items import is_array
from ktransfer.data.sources.front import read_images
from ktransfer.errors import InputError, RunError
from ktransfer.serving.decoding import Images, decoded_batches
from ktransfer.serving.metadata import RESIZING, ModelMetadata
from ktransfer.serving.predictions import Predictions
from ktransfer.serving.reading import read_model
from ktransfer.serving.session import Session

#: Larger ones gain nothing on a CPU, and take memory: MobileNetV2 120 MB with 8, 450 MB with 32.
BATCH_SIZE = 8

OnProgress = Callable[[int, int], None]


class OnnxClassifier:
    """An ONNX file of `FineTuner.export`, run by onnxruntime: TensorFlow and Keras stay out.

    Images are decoded and resized as `FineTuner.predict` does, pixel for pixel. The file is read
    once and whole; nothing outside it is read or run.

    Args:
        path: the file.
        num_threads: that compute; None: as many as there are cores.

    Attributes:
        metadata: what the file says of itself.

    Raises:
        RunError: the file cannot be read, is damaged or no ONNX, was not exported by ktransfer or
            in a format that this version does not know, or needs what lies outside it.
        InputError: onnxruntime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str], *, num_threads: int | None = None) -> None:
        if num_threads is not None and (not isinstance(num_threads, int) or num_threads < 1):
            raise InputError(f"num_threads must be an integer of at least 1, got {num_threads!r}")
        content, metadata = read_model(path)
        self.metadata: ModelMetadata = metadata
        self._session = Session(os.fsdecode(path), content, len(metadata.class_names), num_threads)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of each class, in the order of the probabilities."""
        return self.metadata.class_names

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels that images come to before the network."""
        return self.metadata.input_size

    def predict(
        self,
        images: Any,
        *,
        abstain_below: float = 0.0,
        on_progress: OnProgress | None = None,
        value_range: str | ValueRange | None = AUTO,
    ) -> Predictions:
        """Return the class probabilities of images.

        Args:
            images: as `FineTuner.predict` takes them: paths, an array, images one by one, or any
                other source.
            abstain_below: images whose best class is less probable are unsure and have no label.
            on_progress: called with (images done, images in all) after each batch.
            value_range: the values that are black and white in images of more than 8 bits, where
                they come from another device than those that were trained on, such as `(0, 1023)`;
                `"auto"`: those that the model learnt with; `"full"`: those of each image's type.

        Returns:
            `Predictions`: one row for each readable image, in order; unreadable files are named in
            it.

        Raises:
            InputError: a path does not exist, or an array is not RGB in [0, 255].
            RunError: the network fails.
        """
        how: Any = {"abstain_below": abstain_below, "value_range": value_range}
        several = list(self.stream(images, on_progress=on_progress, **how))
        return Predictions.joined(self.class_names, several)

    def seen_in_training(self, images: Any) -> np.ndarray | None:
        """Say which images the model was trained on, or its epoch was chosen on.

        How often it is right on such says nothing of new ones. An image is known again by its
        bytes, wherever it lies.

        Args:
            images: as in `predict`.

        Returns:
            Bool `(images,)`, for each image that is one by its header, in order; None where the
            file does not say which images these were, or they were held otherwise (in files, or as
            pixels).

        Raises:
            InputError: as `predict`.
            RunError: what the file says of these images is damaged.
        """
        learnt = self.learnt
        if learnt is None:
            return None
        held, _, _ = self._read(images)
        part = Part("prediction", held, np.full(len(held), -1, np.int32))
        return None if learnt.differs_from(part) else learnt.look_up(part) != UNSEEN

    @property
    def learnt(self) -> Learnt | None:
        """Digests of the images that it learnt from; None where the file does not have them."""
        digests = (self.metadata.learnt or {}).get("digests")
        if digests is None:
            return None
        try:
            return Learnt.read(io.BytesIO(base64.b64decode(digests, validate=True)))
        except (TypeError, ValueError) as error:
            raise RunError(f"the digests of images in its metadata are damaged: {error}") from error

    def probabilities(
        self, part: Part, *, on_progress: OnProgress | None = None
    ) -> tuple[np.ndarray, np.ndarray, tuple[Skipped, ...]]:
        """Return what the model says of the images of a part.

        Returns:
            float32 `(images, classes)`, the index of the image of each row, and the images that
            have none, since they cannot be decoded.

        Raises:
            RunError: the network fails.
        """
        values, rows, failed = [self._no_rows()], list[int](), list[Skipped]()
        for batch in decoded_batches(part.images, self._decoded_size, BATCH_SIZE):
            values += [self._session.run(batch.pixels)] if batch.rows else []
            rows += batch.rows
            failed += batch.skipped
            if on_progress:
                on_progress(batch.done, len(part))
        return np.concatenate(values), np.array(rows, np.int64), tuple(failed)

    def stream(
        self,
        images: Any,
        *,
        batch_size: int = BATCH_SIZE,
        abstain_below: float = 0.0,
        on_progress: OnProgress | None = None,
        value_range: str | ValueRange | None = AUTO,
    ) -> Iterator[Predictions]:
        """Yield the same batch by batch, in memory that does not grow with the number of images.

        Args:
            images: as in `predict`.
            batch_size: images in a batch, at least 1.
            abstain_below: as in `predict`.
            on_progress: as in `predict`.
            value_range: as in `predict`.

        Yields:
            `Predictions` of a batch, with what was skipped on the way to it; the first also has
            the files that are no images. A batch without a readable image has no rows.

        Raises:
            InputError: as `predict`, when it is called; or `batch_size` is below 1.
        """
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
        held, skipped, named = self._read(images, value_range)
        empty = Predictions(self.class_names, self._no_rows(), (), skipped, abstain_below)
        return self._stream(empty, held, named, batch_size, on_progress)

    def _stream(
        self,
        empty: Predictions,
        images: Images,
        named: bool,
        batch_size: int,
        on_progress: OnProgress | None,
    ) -> Iterator[Predictions]:
        if not len(images):
            yield empty
        skipped = empty.skipped
        for batch in decoded_batches(images, self._decoded_size, batch_size):
            rows = self._session.run(batch.pixels) if batch.rows else self._no_rows()
            paths = tuple(images.name(row) for row in batch.rows) if named else ()
            left_out = (*skipped, *batch.skipped)
            yield replace(empty, probabilities=rows, paths=paths, skipped=left_out)
            skipped = ()
            if on_progress:
                on_progress(batch.done, len(images))

    @property
    def _decoded_size(self) -> tuple[int, int] | None:
        # Of another way of resizing only the graph knows.
        return self.input_size if self.metadata.resizing == RESIZING else None

    def _no_rows(self) -> np.ndarray:
        return np.empty((0, len(self.class_names)), np.float32)

    def _read(
        self, images: Any, value_range: str | ValueRange | None = AUTO
    ) -> tuple[Images, tuple[Skipped, ...], bool]:
        """Return the images, what was skipped, and whether they have names."""
        chosen = range_to_read(value_range, self.metadata.value_range)
        part, skipped = read_images(images, value_range=chosen)
        return part.images, skipped, not is_array(images)
