"""How well linear heads do on what a backbone says of some images."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktransfer.backbones import Backbone
from ktransfer.data import Part, Skipped
from ktransfer.errors import InputError
from ktransfer.features import FORWARD_BATCH_SIZE, Features, extract_part, taps_of
from ktransfer.profile import WIDEST, columns_of
from ktransfer.profile.probes import Probe, choose_simplest, even_sample, evidence_scores, probe
from ktransfer.recommend.costs import compile_taps

#: Of more images as many are taken, evenly by class: enough to tell 2 points apart.
MOST_IMAGES = 500
#: A single image of a class cannot be predicted by a head that has not seen it.
LEAST_PER_CLASS = 2
#: Decoded images of one size that need more memory than this lie in an unnamed file.
_PIXELS_MB = 256


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images decoded once for each input size.

    Attributes:
        by_size: for each `(height, width)` the images, uint8 `(images, height, width, 3)`; the same
            ones in the same order.
        labels: integers `(images,)`.
        skipped: images that could not be decoded, with the reason.
    """

    by_size: dict[tuple[int, int], np.ndarray]
    labels: np.ndarray
    skipped: tuple[Skipped, ...]


def decode(part: Part, input_sizes: Iterable[tuple[int, int]]) -> Pixels:
    """Decode the images of a part at every size that is needed.

    Raises:
        InputError: too few can be decoded for a probe.
    """
    found: dict[tuple[int, int], Features] = {}
    skipped: dict[str, Skipped] = {}
    for size in dict.fromkeys(input_sizes):
        found[size], _, failed = extract_part(_as_array, part, size, budget_mb=_PIXELS_MB)
        skipped |= {each.path: each for each in failed}
    # An image may be readable at one size only, as JPEG is decoded at a half or a quarter.
    common = functools.reduce(np.intersect1d, (each.indices for each in found.values()))
    labels = part.labels[common]
    _check_decoded(labels, len(part), tuple(skipped.values()))
    by_size = {size: _rows(each, common) for size, each in found.items()}
    return Pixels(by_size, labels, tuple(skipped.values()))


def _as_array(images: Any) -> np.ndarray:
    return np.asarray(images)


def _rows(found: Features, common: np.ndarray) -> np.ndarray:
    if len(found.indices) == len(common):
        return found.values
    return found.values[np.isin(found.indices, common)]


def _check_decoded(labels: np.ndarray, images: int, skipped: tuple[Skipped, ...]) -> None:
    classes = len(np.unique(labels))
    if len(labels) >= 3 and classes >= 2:
        return
    faults = "; ".join(f"{each.path}: {each.reason}" for each in skipped[:3])
    raise InputError(
        f"a probe needs at least 3 images of 2 classes, and of {images} only {len(labels)} of "
        f"{classes} can be decoded: {faults}"
    )


@dataclass(frozen=True, eq=False)
class Judgement:
    """What heads on a backbone reach.

    Attributes:
        probes: by feature set; those that add nothing to a simpler one are left out.
        features: the simplest set within one standard error of the best, by `choose_simplest`.
        scores: LogME and H-score of the features of the last block.
    """

    probes: dict[str, Probe]
    features: str
    scores: dict[str, float]


def sampled(part: Part, class_names: tuple[str, ...]) -> Part:
    """At most `MOST_IMAGES` images of a part, evenly by class.

    Raises:
        InputError: a class has fewer than `LEAST_PER_CLASS`.
    """
    counts = np.bincount(part.labels, minlength=len(class_names))
    for name, count in zip(class_names, counts, strict=True):
        if count < LEAST_PER_CLASS:
            raise InputError(
                f"class {name!r} has {count} training image{'' if count == 1 else 's'}, and a "
                f"probe needs at least {LEAST_PER_CLASS} of each: add some, or leave the class out"
            )
    most = max(MOST_IMAGES, LEAST_PER_CLASS * len(class_names))
    return part.select(even_sample(part.labels, most))


def judge(backbone: Backbone, pixels: Pixels) -> Judgement:
    """Run a backbone over the images once and probe its last block and its wider feature sets.

    Raises:
        InputError: the features are not finite.
    """
    values = _run(backbone, pixels.by_size[backbone.input_size])
    probes: dict[str, Probe] = {}
    before = 0
    _, widths = columns_of(backbone)
    for features, width in widths.items():
        # Each set begins with all of the simpler ones.
        if width > before:
            probes[features] = probe(values[:, :width], pixels.labels)
        before = width
    scores = evidence_scores(values[:, : widths["last"]], pixels.labels)
    chosen = list(probes)[choose_simplest(list(probes.values()))]
    return Judgement(probes, chosen, scores)


def _run(backbone: Backbone, images: np.ndarray) -> np.ndarray:
    """Say what all taps say of the images, float32 `(images, features)`."""
    forward = compile_taps(backbone, taps_of(backbone, WIDEST))
    starts = range(0, len(images), FORWARD_BATCH_SIZE)
    return np.concatenate([forward(images[at : at + FORWARD_BATCH_SIZE]) for at in starts])
