"""How well linear heads do on what a backbone says of some images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ktransfer._checks import InputError
from ktransfer.backbones import Backbone
from ktransfer.data import Part, Skipped
from ktransfer.features import FORWARD_BATCH_SIZE, Features, extract_part
from ktransfer.probes import Probe, choose_simplest, even_sample, evidence_scores, probe
from ktransfer.profile import FEATURE_SETS, Tap, taps_of
from ktransfer.recommend.costs import compile_taps

#: Of more images as many are taken, evenly by class: enough to tell 2 points apart.
MOST_IMAGES = 500
#: A single image of a class cannot be predicted by a head that has not seen it.
LEAST_PER_CLASS = 2
#: Decoded images of one size that need more memory than this lie in an unnamed file.
_PIXELS_MB = 256


@dataclass(eq=False)
class Pixels:
    """The images of a part, decoded once for each input size.

    Attributes:
        part: the images.
        skipped: those that could not be decoded, with the reason.
    """

    part: Part
    skipped: dict[str, Skipped] = field(default_factory=dict)
    _by_size: dict[tuple[int, int], Features] = field(default_factory=dict)

    def at(self, input_size: tuple[int, int]) -> Features:
        """The pixels uint8 `(images, height, width, 3)`, and which images of the part they are."""
        if input_size not in self._by_size:
            found, _, skipped = extract_part(_as_array, self.part, input_size, budget_mb=_PIXELS_MB)
            self._by_size[input_size] = found
            self.skipped |= {each.path: each for each in skipped}
        return self._by_size[input_size]


def _as_array(images: Any) -> np.ndarray:
    return np.asarray(images)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What heads on a backbone reach.

    Attributes:
        probes: by feature set; those that add nothing to a simpler one are left out.
        features: the simplest set within one standard error of the best.
        scores: LogME and H-score of the features of the last block.
        rows: which images of the part were judged.
    """

    probes: dict[str, Probe]
    features: str
    scores: dict[str, float]
    rows: np.ndarray


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
        InputError: the images that can be decoded are too few, or the features are not finite.
    """
    images = pixels.at(backbone.input_size)
    labels = pixels.part.labels[images.indices]
    _check_decoded(labels, pixels)
    taps = {features: taps_of(backbone, features) for features in FEATURE_SETS}
    values = _run(backbone, taps[FEATURE_SETS[-1]], images.values)
    probes: dict[str, Probe] = {}
    before = 0
    for features in FEATURE_SETS:
        # Each set begins with all of the simpler ones.
        width = sum(tap.width for tap in taps[features])
        if width > before:
            probes[features] = probe(values[:, :width], labels)
        before = width
    last = values[:, : sum(tap.width for tap in taps["last"])]
    chosen = list(probes)[choose_simplest(list(probes.values()))]
    return Judgement(probes, chosen, evidence_scores(last, labels), images.indices)


def _run(backbone: Backbone, taps: tuple[Tap, ...], images: np.ndarray) -> np.ndarray:
    forward = compile_taps(backbone, taps)
    starts = range(0, len(images), FORWARD_BATCH_SIZE)
    return np.concatenate([forward(images[at : at + FORWARD_BATCH_SIZE]) for at in starts])


def _check_decoded(labels: np.ndarray, pixels: Pixels) -> None:
    if len(labels) >= 3 and len(np.unique(labels)) >= 2:
        return
    faults = "; ".join(f"{each.path}: {each.reason}" for each in list(pixels.skipped.values())[:3])
    raise InputError(
        f"a probe needs at least 3 images of 2 classes, and of {len(pixels.part)} only "
        f"{len(labels)} of {len(np.unique(labels))} can be decoded: {faults}"
    )
