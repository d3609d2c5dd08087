"""Near duplicates: the same photo resized, encoded anew, brightened or slightly cropped.

A perceptual hash proposes pairs and a second look at the thumbnails takes those whose fine detail
(each pixel less the mean of its surroundings) correlates, the one laid on the other as it is or
slightly cropped. In sets whose images all look alike the hash is of what an image has beyond the
mean image. All of it is from afar: of X-rays, spectrograms and drawings different ones pass too,
and a closer look (`closer`) decides.

Source: Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions (the hash);
    Lewis 1995, Fast Normalized Cross-Correlation (the confirmation). Ours are the few crops.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ktransfer.doctor.inspection import THUMBNAIL_PX

#: Bits of 64 that may differ. Of photos cropped by a twentieth on each side 98 % stay within.
MAX_DISTANCE = 16
#: Correlation of fine detail. Copies of photos are above 0.9 nearly always, of thin lines above
#: 0.8, cropped ones less; different X-rays reach 0.85.
MIN_DETAIL = 0.7
#: Correlation of the thumbnails themselves: detail alone would join surfaces lit differently.
MIN_CORRELATION = 0.7

# Detail of pairs that are to be tried with crops must correlate a little where they are laid on
# each other as they are; among thousands of proposals, three of four photos drop out by this.
_MIN_UNCROPPED = 0.1
_FEW_PROPOSALS = 2_000
_BLOCK = 1_024
_DETAIL_WINDOW = 5
# A blank thumbnail has no detail: differences of a grey level count as none.
_NOISE_LEVELS = 1.0

# Shares cut off at top, bottom, left and right.
_CROPS = (
    *((each,) * 4 for each in (0.02, 0.035, 0.05, 0.075, 0.1)),
    *(
        tuple(share if side == at else 0.0 for at in range(4))
        for share in (0.03, 0.06, 0.1)
        for side in range(4)
    ),
)


class Similar(NamedTuple):
    """What a search found.

    Attributes:
        pairs: int64 `(n, 2)`, positions of images that are near duplicates, or look so at 32
            pixels.
        crops: float32 `(n, 4)`, about what is to be cut off the first at its top, bottom, left and
            right, as shares of its sides, to lie on the second.
        max_distance: the largest distance of hashes that was looked at; smaller than
            `MAX_DISTANCE` where too many images look alike.
    """

    pairs: np.ndarray
    crops: np.ndarray
    max_distance: int


def near_pairs(hashes: np.ndarray, thumbnails: np.ndarray) -> Similar:
    """Find near duplicates.

    The time grows with the square of the number of images, 3 s for each thousand million pairs.

    Args:
        hashes: uint64 `(n,)`.
        thumbnails: uint8 `(n, 32, 32)`.
    """
    # What is proposed falls with the distance; a crowd of look-alikes must not take all time.
    most = 50_000 + 2 * len(hashes)
    proposed, distance = _proposals(hashes, most)
    if distance < MAX_DISTANCE:
        # In a crowd only what an image has of its own tells it from the others.
        proposed, distance = _proposals(_own_hashes(thumbnails), most)
    pairs, crops = [np.empty((0, 2), np.int64)], [np.empty((0, 4), np.float32)]
    for block in _blocks(_worth_it(thumbnails, proposed)) if len(proposed) else ():
        way = _confirmed(thumbnails, block)
        confirmed = np.flatnonzero(way >= 0)
        turned = way[confirmed] % 2 == 1  # it is the second that is cropped
        found = block[confirmed]
        pairs.append(np.where(turned[:, np.newaxis], found[:, ::-1], found))
        crops.append(_ALL_CROPS[(way[confirmed] + 1) // 2])
    return Similar(np.concatenate(pairs), np.concatenate(crops), distance)


def _proposals(hashes: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Pairs by hash, `(n, 2)`, and the largest distance that keeps them to about `most`."""
    found, distances, limit = [np.empty((0, 2), np.int64)], [np.empty(0, np.uint8)], MAX_DISTANCE
    held = 0
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        apart = np.bitwise_count(block[:, np.newaxis] ^ hashes[np.newaxis, start:])
        # Each pair once, and none of an image with itself.
        apart[np.tril_indices(len(block), m=apart.shape[1])] = 255
        first, second = np.nonzero(apart <= limit)
        found.append(np.column_stack([first, second]) + start)
        distances.append(apart[first, second])
        held += len(first)
        while held > most and limit > 0:
            limit -= 1
            kept = [each <= limit for each in distances]
            found = [pairs[keep] for pairs, keep in zip(found, kept, strict=True)]
            distances = [each[keep] for each, keep in zip(distances, kept, strict=True)]
            held = sum(map(len, found))
        if held > most:
            break
    return np.concatenate(found)[:most], limit


def _own_hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Perceptual hashes of what images have beyond the mean image of the set, uint64 `(n,)`."""
    own = np.empty(len(thumbnails), np.uint64)
    mean = np.zeros(THUMBNAIL_PX**2)
    for start in range(0, len(thumbnails), _BLOCK):
        mean += _unit(thumbnails[start : start + _BLOCK].astype(np.float32)).sum(axis=0)
    mean /= max(1, len(thumbnails))
    for start in range(0, len(thumbnails), _BLOCK):
        rows = _unit(thumbnails[start : start + _BLOCK].astype(np.float32)) - mean
        waves = _WAVES @ rows.reshape(-1, THUMBNAIL_PX, THUMBNAIL_PX) @ _WAVES.T
        low = waves.reshape(len(rows), -1)
        bits = low > np.median(low, axis=1, keepdims=True)
        own[start : start + _BLOCK] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return own


def _worth_it(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    if len(pairs) <= _FEW_PROPOSALS:
        return pairs
    kept = []
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        detail = [_unit(_detail(thumbnails[block[:, side]].astype(np.float32))) for side in (0, 1)]
        kept.append(np.einsum("ij,ij->i", *detail) >= _MIN_UNCROPPED)
    return pairs[np.concatenate(kept)]


def _blocks(pairs: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pairs in blocks of at most about 2,000 images each, whose crops fit in memory."""
    if len(np.unique(pairs)) <= 2 * _BLOCK:
        yield pairs
        return
    for start in range(0, len(pairs), _BLOCK):
        yield pairs[start : start + _BLOCK]


def _confirmed(thumbnails: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """By which way pairs show the same photo, int64 `(n,)`; -1 where they do not.

    0 is as they are, `2 k` with crop `k` of the first, counted from 1, `2 k - 1` of the second.
    """
    images, members = np.unique(pairs, return_inverse=True)
    first, second = members.reshape(pairs.shape).T
    whole = thumbnails[images].astype(np.float32)
    plain, plain_detail = _unit(whole), _unit(_detail(whole))
    same = _agree(plain, plain_detail, plain, plain_detail, first, second)
    way = np.where(same, 0, -1)
    for number, (rows, columns) in enumerate(_CROP_MATRICES, 1):
        cropped = _resampled(whole, rows, columns)
        one, one_detail = _unit(cropped), _unit(_detail(cropped))
        for a, b, found in ((first, second, 2 * number), (second, first, 2 * number - 1)):
            left = np.flatnonzero(way < 0)
            agree = _agree(one, one_detail, plain, plain_detail, a[left], b[left])
            way[left[agree]] = found
    return way


def _agree(
    one: np.ndarray,
    one_detail: np.ndarray,
    other: np.ndarray,
    other_detail: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    agree = np.empty(len(first), bool)
    for start in range(0, len(first), _BLOCK):
        at = slice(start, start + _BLOCK)
        a, b = first[at], second[at]
        detail = np.einsum("ij,ij->i", one_detail[a], other_detail[b])
        alike = np.einsum("ij,ij->i", one[a], other[b])
        agree[at] = (detail >= MIN_DETAIL) & (alike >= MIN_CORRELATION)
    return agree


def _detail(images: np.ndarray) -> np.ndarray:
    """Return each pixel less the mean of the window around it, without the outermost pixels."""
    smooth = _resampled(images, _WINDOW_MEAN, _WINDOW_MEAN)
    return (images - smooth)[:, 1:-1, 1:-1]


def _unit(images: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and norm 1, so that a product is a correlation; of blank images nearly 0."""
    rows = images.reshape(len(images), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    floor = _NOISE_LEVELS * 0.1 * np.sqrt(rows.shape[1])
    return rows / (np.linalg.norm(rows, axis=1, keepdims=True) + floor)


def _resampled(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`rows @ image @ columns.T` of each image, as two large products instead of many small."""
    across = images @ columns.T
    return np.matmul(rows, across)


def _crop_matrix(low: float, high: float) -> np.ndarray:
    """Stretches what is left of a row of pixels without its two ends, by interpolation."""
    size = THUMBNAIL_PX
    step = 1.0 - low - high
    centre = low * size + step * (np.arange(size) + 0.5) - 0.5
    left = np.clip(np.floor(centre).astype(int), 0, size - 2)
    share = np.clip(centre - left, 0.0, 1.0)
    matrix = np.zeros((size, size), np.float32)
    matrix[np.arange(size), left] = 1.0 - share
    matrix[np.arange(size), left + 1] = share
    return matrix


def _window_mean() -> np.ndarray:
    """Return the mean over the window around each pixel of a row.

    The ends are repeated beyond it.
    """
    size, reach = THUMBNAIL_PX, _DETAIL_WINDOW // 2
    matrix = np.zeros((size, size), np.float32)
    for at in range(size):
        for shift in range(-reach, reach + 1):
            matrix[at, min(max(at + shift, 0), size - 1)] += 1.0 / _DETAIL_WINDOW
    return matrix


_WINDOW_MEAN = _window_mean()
# The eight slowest waves of a cosine transform, as `imagehash.phash` takes them.
_WAVES = np.cos(np.pi / THUMBNAIL_PX * np.outer(np.arange(8), np.arange(THUMBNAIL_PX) + 0.5))
_CROP_MATRICES = [
    (_crop_matrix(top, bottom), _crop_matrix(left, right)) for top, bottom, left, right in _CROPS
]
_ALL_CROPS = np.array([(0.0,) * 4, *_CROPS], np.float32)
