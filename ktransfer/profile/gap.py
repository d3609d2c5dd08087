"""The domain gap: how far images are from a backbone's own, without having the latter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ktransfer.errors import InputError
from ktransfer.processes.threads import one_blas_thread

if TYPE_CHECKING:
    from ktransfer.profile.batch_norm import Moments, NormLayer

#: A gap below counts as similar; see benchmarks/results/domain_gap.md.
SIMILAR_BELOW = 0.04

#: With fewer images the estimate moves by more than what lies between photos and cartoons.
LEAST_IMAGES = 32

#: Images that are measured at most: more of them change the gap by less than another sample does.
MOST_IMAGES = 128

_RESAMPLES = 200


@dataclass(frozen=True)
class DomainGap:
    """How far images are from a backbone's own.

    Attributes:
        value: mean over the layers, in nats; 0 is no difference.
        interval: 95 % interval of it, by drawing the images again with replacement.
        similar: whether `value` is below `SIMILAR_BELOW`.
        thirds: the same of the first, the middle and the last third of the layers: what differs in
            the first are colours and textures, in the last what is shown.
        layers: for each batch-norm layer its gap, in order.
        num_images: how many images were measured.
    """

    value: float
    interval: tuple[float, float]
    similar: bool
    thirds: tuple[float, float, float]
    layers: dict[str, float]
    num_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            **asdict(self),
            "interval": list(self.interval),
            "thirds": list(self.thirds),
            "similar_below": SIMILAR_BELOW,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DomainGap:
        """Return the reverse of `to_dict`."""
        own = {each.name: data[each.name] for each in fields(cls)}
        return cls(**{**own, "interval": tuple(own["interval"]), "thirds": tuple(own["thirds"])})


def domain_gap(layers: Sequence[NormLayer], moments: Moments, *, seed: int = 0) -> DomainGap:
    """Return the distance between what reached batch-norm layers and what they remember.

    Of each channel it is the Kullback-Leibler divergence of two Gaussians, the one measured from
    the one remembered, 1/2 (log(v0/v) + (v + (mu - m0)^2)/v0 - 1), where both variances include the
    layer's epsilon; of a layer the median over its channels; in all the mean over the layers.

    Args:
        layers: of `norm_layers`.
        moments: of the same layers.
        seed: of the resampling.

    Raises:
        InputError: there is no layer or no image, or the activations are not finite.

    Source: the idea that batch-norm statistics summarise the source domain is that of Li et al.
        2016, Revisiting Batch Normalization (arXiv 1603.04779), and of Eastwood et al. 2021,
        Source-Free Adaptation by Bottom-Up Feature Restoration (arXiv 2107.05446). Changed: a
        median over channels and a threshold, measured on photos and on other images.
    """
    if not layers or not len(moments):
        raise InputError(
            f"a domain gap needs batch-norm layers and images, got {len(layers)} and {len(moments)}"
        )
    number = len(moments)
    (gaps,) = _layer_gaps(layers, moments, np.full((1, number), 1.0 / number))
    if not np.isfinite(gaps).all():
        raise InputError("the activations of the backbone are not finite: its weights are damaged")
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, number, (_RESAMPLES, number))
    shares = np.stack([np.bincount(rows, minlength=number) for rows in draws]) / number
    # Images drawn twice make a sample poorer than a new one would be, and its gap larger: so the
    # spread of the resampled gaps is taken, and not their place.
    with one_blas_thread():
        resampled = _layer_gaps(layers, moments, shares).mean(axis=1)
    value, spread = float(gaps.mean()), 1.96 * float(resampled.std())
    thirds = tuple(float(each.mean()) if len(each) else value for each in np.array_split(gaps, 3))
    return DomainGap(
        value=value,
        interval=(max(0.0, value - spread), value + spread),
        similar=value < SIMILAR_BELOW,
        thirds=(thirds[0], thirds[1], thirds[2]),
        layers={layer.name: float(gap) for layer, gap in zip(layers, gaps, strict=True)},
        num_images=len(moments),
    )


def _layer_gaps(layers: Sequence[NormLayer], moments: Moments, shares: np.ndarray) -> np.ndarray:
    """Measure each layer's gap, `(draws, layers)`; a draw gives each image a share of 1."""
    gaps, start = np.empty((len(shares), len(layers))), 0
    for at, layer in enumerate(layers):
        columns = slice(start, start + len(layer.mean))
        start = columns.stop
        shifts = shares @ moments.shifts[:, columns].astype(np.float64)
        squares = shares @ moments.squares[:, columns].astype(np.float64)
        variance = np.maximum(squares - shifts**2, 0.0) + layer.epsilon
        ratio = layer.variance / variance
        divergence = 0.5 * (np.log(ratio) + (variance + shifts**2) / layer.variance - 1.0)
        gaps[:, at] = np.median(divergence, axis=1)
    return gaps
