"""The gate: an export is compared with the model on real images before anybody gets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ktransfer.data import Part
from ktransfer.data.images.host import decode_on_host, resize_on_host
from ktransfer.errors import InputError, RunError

#: Images in a batch of the second comparison.
BATCH_SIZE = 32

# Of an image at its own size: 16 megapixels, 200 MB in float32.
_MOST_NUMBERS = 3 * 2**24

#: From uint8 RGB images `(batch, height, width, 3)` to float32 probabilities `(batch, classes)`.
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """How far an export predicts the same as the model, from file to label.

    Every image is compared twice with what `FineTuner.predict` says of its file: by itself, at its
    own size where the export takes any, and in a batch of others, at the network's size.

    Attributes:
        part: which images: `"validation"`, `"test"`, or `"prediction"` (without labels).
        num_images: how many.
        top1_agreement: share of them with the same most probable class, in [0, 1].
        max_difference: largest difference in the probability of a class.
        mean_difference: mean over images and classes.
        bound: what `max_difference` must not exceed; None for a quantised export, which is judged
            by its accuracy (`Quantised`).
        accuracy: of the export on these images, in [0, 1]; None where they have no labels.
        model_accuracy: of the model.
        in_full_agreement: the same as `top1_agreement` of images decoded in full. To be fast,
            ktransfer decodes a JPEG of twice the network's size or more at a half, a quarter or an
            eighth of it; most other programs decode it in full, and the pixels differ a little. No
            fault of the export.
        in_full_difference: the same as `max_difference` of images decoded in full.
        images_per_second: of the export, in batches of 32 at the network's size, decoding not
            counted.
        model_images_per_second: of the model, likewise.
        ms_per_image: of the export, an image in a call, at its own size where it takes any.
        model_ms_per_image: of the model, likewise, resizing counted.
    """

    part: str
    num_images: int
    top1_agreement: float
    max_difference: float
    mean_difference: float
    bound: float | None
    accuracy: float | None
    model_accuracy: float | None
    in_full_agreement: float
    in_full_difference: float
    images_per_second: float
    model_images_per_second: float
    ms_per_image: float
    model_ms_per_image: float

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Agreement:
        """Return the reverse of `to_dict`."""
        return cls(**{each.name: data[each.name] for each in fields(cls)})


@dataclass(frozen=True, eq=False)
class Expected:
    """What the model says of the images of the gate.

    Attributes:
        part: the images.
        probabilities: float32 `(images, classes)`, of `FineTuner.predict`.
        input_size: height and width that the network sees, in pixels.
        resized: uint8 `(images, height, width, 3)`.
        seconds: that the model took for the images one by one, and in batches.
    """

    part: Part
    probabilities: np.ndarray
    input_size: tuple[int, int]
    resized: np.ndarray
    seconds: tuple[float, float]

    def own_size(self) -> Iterator[np.ndarray]:
        """Yield each image as it is decoded, `(1, height, width, 3)`, not yet resized."""
        for row in range(len(self.part)):
            image = decode_on_host(self.part.images, row, self.input_size)
            # In float32 a very large one would need more memory than all else.
            small = image.size <= _MOST_NUMBERS
            yield (image if small else resize_on_host(image, self.input_size))[np.newaxis]

    def in_full(self) -> np.ndarray:
        """Return the images as most other programs decode them, of the network's size."""
        rows = range(len(self.part))
        return _fit((self.part.images.full_size(row) for row in rows), self.input_size)


def expected(
    forward: Predict, part: Part, probabilities: np.ndarray, input_size: tuple[int, int]
) -> Expected:
    """Bring the images to the network's size, and time the model.

    Args:
        forward: the model, on images of `input_size`.
        part: images, all of which the training could read.
        probabilities: `(images, classes)`, what the model says of them.
        input_size: height and width in pixels.

    Raises:
        InputError: none of the images can be decoded by Pillow.
    """
    found = {row: _resized(part, row, input_size) for row in range(len(part))}
    rows = [row for row, pixels in found.items() if pixels is not None]
    if not rows:
        raise InputError("none of the images to compare the export on can be decoded")
    resized = np.stack([pixels for pixels in found.values() if pixels is not None])
    wanted = Expected(part.select(rows), probabilities[rows], input_size, resized, (0.0, 0.0))
    _, single_s = _timed_rows(lambda images: forward(_fit(images, input_size)), wanted.own_size())
    _, batched_s = _timed_rows(forward, batches(resized))
    return Expected(wanted.part, wanted.probabilities, input_size, resized, (single_s, batched_s))


def compare(
    predict: Predict,
    wanted: Expected,
    class_names: Sequence[str],
    *,
    any_size: bool,
    bound: float | None,
) -> Agreement:
    """Run the export over the same images and compare.

    Args:
        predict: the export, loaded in its own runtime.
        wanted: of `expected`.
        class_names: for the message.
        any_size: whether it takes images of any size.
        bound: largest difference in probability that counts as the same; None: any.

    Raises:
        RunError: they differ; the message says on which image and by how much.
    """
    own = wanted.own_size() if any_size else (each[np.newaxis] for each in wanted.resized)
    single, single_s = _timed_rows(predict, own)
    batched, batched_s = _timed_rows(predict, batches(wanted.resized))
    for found in (single, batched):
        _check_shape(found, wanted)
        if bound is None:
            _check_finite(found, wanted)
        else:
            _check_same(found, wanted, class_names, bound)
    in_full, _ = _timed_rows(predict, batches(wanted.in_full()))
    differences = np.abs(np.stack([single, batched]) - wanted.probabilities)
    count, labels = len(wanted.part), wanted.part.labels
    known = bool((labels >= 0).all())
    return Agreement(
        part=wanted.part.name,
        num_images=count,
        top1_agreement=min(_share(each, wanted.probabilities) for each in (single, batched)),
        max_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        bound=bound,
        accuracy=_right(single, labels) if known else None,
        model_accuracy=_right(wanted.probabilities, labels) if known else None,
        in_full_agreement=_share(in_full, wanted.probabilities),
        in_full_difference=float(np.abs(in_full - wanted.probabilities).max()),
        images_per_second=count / batched_s,
        model_images_per_second=count / wanted.seconds[1],
        ms_per_image=1_000 * single_s / count,
        model_ms_per_image=1_000 * wanted.seconds[0] / count,
    )


def _resized(part: Part, row: int, input_size: tuple[int, int]) -> np.ndarray | None:
    """Return an image at the network's size.

    None where Pillow cannot read what TensorFlow has read.
    """
    try:
        part.images.full_size(row)
        return resize_on_host(decode_on_host(part.images, row, input_size), input_size)
    except Exception:  # damaged files make Pillow raise nearly anything
        return None


def _fit(images: Iterable[np.ndarray], input_size: tuple[int, int]) -> np.ndarray:
    return np.stack([resize_on_host(each, input_size) for each in images])


def batches(images: np.ndarray) -> Iterator[np.ndarray]:
    """Return the images, `BATCH_SIZE` at a time."""
    return (images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE))


def _timed_rows(predict: Predict, several: Iterable[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return all probabilities and the seconds of calls; the first, which compiles, runs twice."""
    rows: list[np.ndarray] = []
    seconds = 0.0
    for images in several:
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


def _check_shape(found: np.ndarray, wanted: Expected) -> None:
    if found.shape != wanted.probabilities.shape:
        raise RunError(
            f"the export gives probabilities of shape {found.shape[1:]} for an image, the model "
            f"{wanted.probabilities.shape[1:]}; nothing was written"
        )


def _check_finite(found: np.ndarray, wanted: Expected) -> None:
    broken = ~np.isfinite(found).all(axis=1)
    if broken.any():
        raise RunError(
            f"the export gives no numbers (NaN or infinity) for {int(broken.sum())} of "
            f"{len(found)} {wanted.part.name} images; nothing was written"
        )


def _check_same(
    found: np.ndarray, wanted: Expected, class_names: Sequence[str], bound: float
) -> None:
    differences = np.abs(found - wanted.probabilities).max(axis=1)
    # Written so that a NaN fails the test as well.
    same_class = found.argmax(axis=1) == wanted.probabilities.argmax(axis=1)
    wrong = ~((differences <= bound) & same_class)
    if not wrong.any():
        return
    row = int(np.where(wrong, np.nan_to_num(differences, nan=np.inf), -1.0).argmax())

    def said(probabilities: np.ndarray) -> str:
        best = int(probabilities[row].argmax())
        return f"{class_names[best]!r} with {probabilities[row, best]:.6f}"

    raise RunError(
        f"the export does not predict the same as the model, so nothing was written: on "
        f"{int(wrong.sum())} of {len(found)} {wanted.part.name} images it says another class, or a "
        f"probability that differs by more than {bound:g}; most on "
        f"{wanted.part.images.name(row)}: the model says {said(wanted.probabilities)}, the export "
        f"{said(found)} (largest difference {differences[row]:.3g})"
    )
