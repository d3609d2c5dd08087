"""A closer look at two images that seem to show the same: one laid on the other, place by place.

At 32 pixels any two spectrograms under the same axes, or two drawings on white, are alike. Here an
image has sixteen times as many pixels. The one is laid on the other (a copy may be cropped), and
wherever either shows something, the surroundings of a pixel must correlate; where both are smooth
nothing is said, since there encoding leaves only noise. The mean over all such places is what the
two agree by: of copies (of photos, X-rays, steel, drawings, spectrograms, tiles of a surface and
slices of volumes, 60 each) 0.88 and more, mostly 0.99; of brightened steel, where much is white by
then, 0.7. Different spectrograms reach 0.6, drawings 0.7, X-rays of one patient 0.87, and slices
beside each other 0.97, for which `grouping` compares pairs with the others of their set.

Source: Lucas and Kanade 1981, An Iterative Image Registration Technique (laying on each other);
    Wang et al. 2004, Image Quality Assessment: From Error Visibility to Structural Similarity
    (correlation place by place). Ours is that places without structure do not count.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ktransfer.processes.threads import one_blas_thread

#: Side of an image looked at closely, which is squeezed into a square.
CLOSE_PX = 128

# Pixels around a place, and their standard deviation in grey levels where there is something.
_WINDOW = 9
_SOMETHING = 6.0
# The variance that encoding adds.
_NOISE = 16.0
_MARGIN, _STEP = 2, 3

# At half of the pixels copies are above this as well; it spares most pairs of a crowd the rest.
_MIN_HALF = 0.65
# Few at a time stay in the processor's cache.
_BLOCK = 16
_STEPS_AT_HALF, _STEPS = 3, 1
# Shares of a side: as far as one step goes, and all of them. More would be another photo.
_LONGEST_STEP, _MOST_CROPPED = 0.03, 0.15
_STIFFNESS = 100.0


def agreements(images: np.ndarray, pairs: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Say how well pairs agree, float32 `(n,)`: 1 for the same pixels, 0 for nothing in common.

    Args:
        images: grey, uint8 `(m, CLOSE_PX, CLOSE_PX)`.
        pairs: positions in them, `(n, 2)`: the first is laid on the second.
        crops: about what is cut off the first for that, shares of its side at top, bottom, left
            and right `(n, 4)`.
    """
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(pairs), _BLOCK)]
    with one_blas_thread(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        found = threads.map(lambda at: _of_block(images, pairs[at], crops[at]), blocks)
        return np.concatenate([np.empty(0, np.float32), *found])


def _of_block(images: np.ndarray, pairs: np.ndarray, crops: np.ndarray) -> np.ndarray:
    one, other = (images[pairs[:, side]].astype(np.float32) for side in (0, 1))
    crops = crops.astype(np.float32)
    found, crops = _agree(_halved(one), _halved(other), crops, _STEPS_AT_HALF)
    near = np.flatnonzero(found >= _MIN_HALF)
    if len(near):
        found[near], _ = _agree(one[near], other[near], crops[near], _STEPS)
    return found


def _agree(
    one: np.ndarray, other: np.ndarray, crops: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(steps):
        crops = np.clip(crops + _step(one, other, crops), -_MOST_CROPPED, _MOST_CROPPED)
    return _correlation(_cut(one, crops), other), crops


def _halved(images: np.ndarray) -> np.ndarray:
    side = images.shape[1] // 2
    return images.reshape(len(images), side, 2, side, 2).mean(axis=(2, 4))


def _cut(images: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Say what is left of each without its edges, stretched to the same size."""
    rows = _stretched(images, crops[:, 0], crops[:, 1])
    columns = _stretched(rows.transpose(0, 2, 1), crops[:, 2], crops[:, 3])
    return columns.transpose(0, 2, 1)


def _stretched(images: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    size = images.shape[1]
    centre = (np.arange(size) + 0.5) / size
    place = (low[:, np.newaxis] + (1 - low - high)[:, np.newaxis] * centre) * size - 0.5
    left = np.clip(np.floor(place).astype(int), 0, size - 2)
    share = np.clip(place - left, 0, 1).astype(np.float32)[..., np.newaxis]
    each = np.arange(len(images))[:, np.newaxis]
    return images[each, left] * (1 - share) + images[each, left + 1] * share


def _step(one: np.ndarray, other: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """By how much to cut more or less, for the one to lie better on the other."""
    laid = _cut(one, crops)
    size = laid.shape[1]
    centre = ((np.arange(size) + 0.5) / size).astype(np.float32)
    down, across = np.gradient(laid, axis=(1, 2))
    down *= (size / (1 - crops[:, 0] - crops[:, 1]))[:, np.newaxis, np.newaxis]
    across *= (size / (1 - crops[:, 2] - crops[:, 3]))[:, np.newaxis, np.newaxis]
    y = centre[:, np.newaxis]
    moved = (down * (1 - y), -down * y, across * (1 - centre), -across * centre)
    # Light and contrast are fitted too: a brightened copy is a copy.
    known = np.stack([*moved, laid, np.ones_like(laid)], axis=-1)[:, 2:-2, 2:-2]
    known = known.reshape(len(laid), -1, 6)
    wanted = other[:, 2:-2, 2:-2].reshape(len(other), -1, 1)
    turned = known.transpose(0, 2, 1)
    stiff = np.diag([_STIFFNESS * size] * 4 + [1e-3] * 2).astype(np.float32)
    solved = np.linalg.solve(turned @ known + stiff, turned @ wanted)[..., 0]
    contrast = np.where(np.abs(solved[:, 4]) > 0.2, solved[:, 4], 1.0)
    return np.clip(solved[:, :4] / contrast[:, np.newaxis], -_LONGEST_STEP, _LONGEST_STEP)


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the mean over all places where either shows something; 1 where there are none."""
    mean_one, mean_other = _around(one), _around(other)
    variance_one = np.maximum(_around(one * one) - mean_one**2, 0)
    variance_other = np.maximum(_around(other * other) - mean_other**2, 0)
    both = _around(one * other) - mean_one * mean_other
    scale = np.sqrt((variance_one + _NOISE) * (variance_other + _NOISE))
    something = np.maximum(variance_one, variance_other) > _SOMETHING**2
    total = (something * (both + _NOISE) / scale).sum(axis=(1, 2))
    count = something.sum(axis=(1, 2))
    return np.where(count > 0, total / np.maximum(count, 1), 1.0).astype(np.float32)


def _around(images: np.ndarray) -> np.ndarray:
    """Return the mean around each of some places, which are not at the edges."""
    windows = _windows(images.shape[1])
    return np.matmul(windows, images @ windows.T)


@functools.cache
def _windows(size: int) -> np.ndarray:
    starts = np.arange(_MARGIN, size - _WINDOW - _MARGIN + 1, _STEP)
    within = np.arange(size) - starts[:, np.newaxis]
    return ((within >= 0) & (within < _WINDOW)).astype(np.float32) / _WINDOW
