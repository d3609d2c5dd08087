"""The gate: an export is compared with the model on real images before anybody gets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ktransfer._checks import InputError, RunError
from ktransfer.data import Part, resize_array

#: Images in one call of the second comparison.
BATCH_SIZE = 32

#: From uint8 RGB images `(batch, height, width, 3)` to float32 probabilities `(batch, classes)`.
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """How far an export predicts the same as the model, on real images.

    Every image is compared twice: by itself, at its own size where the export takes any, and in a
    batch of others, at the network's size.

    Attributes:
        part: which images: `"validation"`, `"test"` or `"prediction"` (without labels).
        num_images: how many.
        top1_agreement: share of them with the same most probable class, in [0, 1].
        max_difference: largest difference in the probability of a class.
        mean_difference: mean over images and classes.
        bound: what `max_difference` must not exceed.
        accuracy: of the export on these images, in [0, 1]; None where they have no labels.
        model_accuracy: of the model, on the same pixels.
        as_trained_agreement: share of the images with the same most probable class as
            `FineTuner.predict` gives for the file. It may be below 1 without a fault of the export:
            to be fast, training decodes a JPEG of twice the wanted size or more at a half, a
            quarter or an eighth of it, other programs in full, and the pixels differ a little.
        as_trained_difference: the largest difference in probability from the same.
        images_per_second: of the export, in batches of 32 at the network's size, decoding not
            counted.
        model_images_per_second: of the model, likewise.
        ms_per_image: of the export, one image in a call, at its own size where it takes any.
        model_ms_per_image: of the model, likewise.
    """

    part: str
    num_images: int
    top1_agreement: float
    max_difference: float
    mean_difference: float
    bound: float
    accuracy: float | None
    model_accuracy: float | None
    as_trained_agreement: float
    as_trained_difference: float
    images_per_second: float
    model_images_per_second: float
    ms_per_image: float
    model_ms_per_image: float

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Agreement:
        """The reverse of `to_dict`."""
        return cls(**{each.name: data[each.name] for each in fields(cls)})


@dataclass(frozen=True, eq=False)
class Expected:
    """What the model says of the images of the gate; the same for every format.

    Attributes:
        part: the images.
        single: float32 `(images, classes)`, of the model, each image by itself.
        batched: likewise, in batches.
        as_trained: likewise, of the images as the training reads them.
        resized: uint8 `(images, height, width, 3)`, of the network's size.
        seconds: of `single`, and of `batched`.
    """

    part: Part
    single: np.ndarray
    batched: np.ndarray
    as_trained: np.ndarray
    resized: np.ndarray
    seconds: tuple[float, float]


def expected(
    forward: Predict, part: Part, as_trained: np.ndarray, input_size: tuple[int, int]
) -> Expected:
    """Run the model over the images.

    Args:
        forward: the model, on images of `input_size`.
        part: images, all of which the training could read.
        as_trained: `(images, classes)`, what the model says of them as the training reads them.
        input_size: height and width in pixels.

    Raises:
        InputError: none of the images can be decoded by Pillow.
    """
    found = {row: _resized(part, row, input_size) for row in range(len(part))}
    rows = [row for row, pixels in found.items() if pixels is not None]
    if not rows:
        raise InputError("none of the images to compare the export on can be decoded")
    part, as_trained = part.select(rows), as_trained[rows]
    resized = np.concatenate([pixels for pixels in found.values() if pixels is not None])
    single, single_s = _timed_rows(
        lambda images: forward(resize_array(images, input_size)), _pixels(part)
    )
    batched, batched_s = _timed_rows(forward, _batches(resized))
    return Expected(part, single, batched, as_trained, resized, (single_s, batched_s))


def compare(
    predict: Predict,
    wanted: Expected,
    class_names: Sequence[str],
    *,
    any_size: bool,
    bound: float,
) -> Agreement:
    """Run the export over the same images and compare.

    Args:
        predict: the export, loaded in its own runtime.
        wanted: of `expected`.
        class_names: for the message.
        any_size: whether it takes images of any size.
        bound: largest difference in probability that counts as the same.

    Raises:
        RunError: they differ; the message says on which image and by how much.
    """
    own = _pixels(wanted.part) if any_size else (each[np.newaxis] for each in wanted.resized)
    single, single_s = _timed_rows(predict, own)
    batched, batched_s = _timed_rows(predict, _batches(wanted.resized))
    pairs = [(single, wanted.single), (batched, wanted.batched)]
    for ours, theirs in pairs:
        _check_same(ours, theirs, wanted.part, class_names, bound)
    differences = np.stack([np.abs(ours - theirs) for ours, theirs in pairs])
    count, labels = len(wanted.part), wanted.part.labels
    known = bool((labels >= 0).all())
    return Agreement(
        part=wanted.part.name,
        num_images=count,
        top1_agreement=float(np.mean([_share(ours, theirs) for ours, theirs in pairs])),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        bound=bound,
        accuracy=_right(single, labels) if known else None,
        model_accuracy=_right(wanted.single, labels) if known else None,
        as_trained_agreement=_share(single, wanted.as_trained),
        as_trained_difference=float(np.abs(single - wanted.as_trained).max()),
        images_per_second=count / batched_s,
        model_images_per_second=count / wanted.seconds[1],
        ms_per_image=1_000 * single_s / count,
        model_ms_per_image=1_000 * wanted.seconds[0] / count,
    )


def _resized(part: Part, row: int, input_size: tuple[int, int]) -> np.ndarray | None:
    """An image at the network's size, `(1, height, width, 3)`; None where Pillow cannot read it."""
    try:
        return resize_array(part.images.full_size(row)[np.newaxis], input_size)
    # TensorFlow has read it; damaged files make Pillow raise nearly anything.
    except Exception:
        return None


def _pixels(part: Part) -> Iterator[np.ndarray]:
    """Each image at its own size, uint8 `(1, height, width, 3)`, as Pillow reads it."""
    return (part.images.full_size(row)[np.newaxis] for row in range(len(part)))


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))


def _timed_rows(predict: Predict, batches: Iterator[np.ndarray]) -> tuple[np.ndarray, float]:
    """All probabilities, and the seconds of the calls; the first, which compiles, is made twice."""
    rows: list[np.ndarray] = []
    seconds = 0.0
    for images in batches:
        if not rows:
            predict(images)
        started = time.perf_counter()
        rows.append(predict(images))
        seconds += time.perf_counter() - started
    return np.concatenate(rows), seconds


def _share(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean())


def _right(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _check_same(
    ours: np.ndarray, theirs: np.ndarray, part: Part, class_names: Sequence[str], bound: float
) -> None:
    if ours.shape != theirs.shape:
        raise RunError(
            f"the export gives probabilities of shape {ours.shape[1:]} for an image, the model "
            f"{theirs.shape[1:]}; nothing was written"
        )
    differences = np.abs(ours - theirs).max(axis=1)
    # Written so that a NaN fails the test as well.
    wrong = ~(differences <= bound) | (ours.argmax(axis=1) != theirs.argmax(axis=1))
    if not wrong.any():
        return
    row = int(np.where(wrong, np.nan_to_num(differences, nan=np.inf), -1.0).argmax())

    def said(probabilities: np.ndarray) -> str:
        best = int(probabilities[row].argmax())
        return f"{class_names[best]!r} with {probabilities[row, best]:.6f}"

    raise RunError(
        f"the export does not predict the same as the model, so nothing was written: on "
        f"{int(wrong.sum())} of {len(part)} {part.name} images another class, or a probability "
        f"that differs by more than {bound:g}; most on {part.images.name(row)}: the model says "
        f"{said(theirs)}, the export {said(ours)} (largest difference {differences[row]:.3g})"
    )
