"""Findings on pixels: sizes, channels and ranges that differ from the rest or say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ktransfer.doctor.findings import Finding
from ktransfer.doctor.looking import MODES, THUMBNAIL_PX
from ktransfer.doctor.subject import Subject

#: A shorter side under this shows nothing that a network for photos knows.
TINY_PX = 16
#: A longer side of more than this many shorter ones is a strip; the centre that is taken of it is
#: next to nothing.
LONGEST_STRIP = 10
#: Grey levels between the darkest and the lightest pixel of a thumbnail that shows anything.
_BLANK_LEVELS = 4

_CHANNELS = {"CMYK": "CMYK", "LAB": "Lab colours", "YCbCr": "YCbCr"}


def pixel_findings(subject: Subject, looks: np.ndarray) -> Iterator[Finding]:
    """Of the images that were decoded."""
    seen = looks["seen"].astype(np.bool_)
    yield from _tiny(subject, looks, seen)
    yield from _values(subject, looks, seen)
    yield from _channels(subject, looks, seen)
    yield from _grey(subject, looks, seen)
    yield from _animated(subject, np.flatnonzero(seen & looks["animated"].astype(np.bool_)))


def _tiny(subject: Subject, looks: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    shorter = np.minimum(looks["width"], looks["height"])
    longer = np.maximum(looks["width"], looks["height"])
    tiny = np.flatnonzero(seen & ((shorter < TINY_PX) | (longer > LONGEST_STRIP * shorter)))
    if not len(tiny):
        return
    # Digits of 8 x 8 pixels are a data set; one such file among photos is a thumbnail or a spacer.
    usual = len(tiny) > seen.sum() / 2
    yield Finding(
        "tiny",
        "info" if usual else "warning",
        len(tiny),
        f"{len(tiny):,} image{'s' if len(tiny) > 1 else ''} with a side under {TINY_PX} pixels, or "
        f"over {LONGEST_STRIP} times as long as the other",
        "they are enlarged, and of a strip only the middle is seen; expect little of them"
        if usual
        else "remove thumbnails, icons and spacers",
        tuple((path,) for path in subject.paths(tiny)),
        tuple(f"{looks['width'][at]} x {looks['height'][at]} pixels" for at in tiny),
    )


def _values(subject: Subject, looks: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    thumbnails = looks["thumbnail"].reshape(len(looks), THUMBNAIL_PX**2)
    low, high = thumbnails.min(axis=1), thumbnails.max(axis=1)
    blank = seen & (high.astype(np.int16) - low <= _BLANK_LEVELS)
    deep = seen & looks["deep"].astype(np.bool_)
    mixed = 0 < deep.sum() < seen.sum()
    at = np.flatnonzero(blank | (deep if mixed else False))
    if len(at):
        yield Finding(
            "value_range",
            "warning",
            len(at),
            f"{len(at):,} image{'s are' if len(at) > 1 else ' is'} blank, or of 16 or 32 bits "
            "among images of 8",
            "remove blank ones; save deep ones with 8 bits as the others were, or make sure that "
            "their white is 65535: they are scaled by that",
            tuple((path,) for path in subject.paths(at)),
            tuple(_range(int(index), low, high, blank, looks) for index in at),
        )
    elif deep.any():
        yield Finding(
            "value_range",
            "info",
            int(deep.sum()),
            "all images have 16 or 32 bits",
            "they are scaled to 8, white being 65535 (floats: 1, 255 or 65535, the smallest that "
            "holds all values)",
        )


def _range(
    index: int, low: np.ndarray, high: np.ndarray, blank: np.ndarray, looks: np.ndarray
) -> str:
    if not blank[index]:
        return f"mode {_mode(looks, index)}, 16 or 32 bits"
    if high[index] <= 2 * _BLANK_LEVELS:
        return "all black"
    if low[index] >= 255 - 2 * _BLANK_LEVELS:
        return "all white"
    return f"one shade ({low[index]} to {high[index]} of 255)"


def _mode(looks: np.ndarray, index: int) -> str:
    code = int(looks["mode"][index])
    return MODES[code] if code < len(MODES) else "unknown"


def _channels(subject: Subject, looks: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    kinds: dict[str, np.ndarray] = {}
    alpha = seen & looks["alpha"].astype(np.bool_)
    kinds["transparency, laid on white"] = alpha
    for mode, name in _CHANNELS.items():
        kinds[f"{name}, converted without a profile"] = seen & (looks["mode"] == MODES.index(mode))
    kinds["palette"] = seen & ~alpha & (looks["mode"] == MODES.index("P"))
    kinds["black and white only"] = seen & (looks["mode"] == MODES.index("1"))
    groups = {name: np.flatnonzero(which) for name, which in kinds.items() if which.any()}
    if not groups:
        return
    at = np.concatenate(list(groups.values()))
    yield Finding(
        "channel_mismatch",
        "warning" if len(at) <= seen.sum() / 2 else "info",
        len(at),
        f"{len(at):,} image{'s' if len(at) > 1 else ''} with other channels than RGB or grey: "
        + "; ".join(f"{len(which):,} with {name}" for name, which in groups.items()),
        "they become RGB; look at some: placeholders such as 'image not found' are often of "
        "another kind than the photos; and a kind that goes with a class is learnt in its place",
        tuple((path,) for path in subject.paths(at)),
        tuple(name for name, which in groups.items() for _ in which),
    )


def _grey(subject: Subject, looks: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    grey = seen & looks["grey"].astype(np.bool_)
    count, of = int(grey.sum()), int(seen.sum())
    if not count:
        return
    every = count == of
    yield Finding(
        "grey",
        "info",
        count,
        "all images are grey" if every else f"{count:,} of {of:,} images are grey",
        "grey images go through a network for colour as they are; similarity='different' says that "
        "they are unlike photos"
        if every
        else "if grey goes with a class, a model learns that instead; augmentation 'grey' makes it "
        "indifferent",
        tuple((path,) for path in subject.paths(np.flatnonzero(grey))),
    )


def _animated(subject: Subject, animated: np.ndarray) -> Iterator[Finding]:
    if len(animated):
        yield Finding(
            "animated",
            "info",
            len(animated),
            f"{len(animated):,} image{'s' if len(animated) > 1 else ''} with several frames",
            "only the first is looked at and learnt from; save the others as files if they matter",
            tuple((path,) for path in subject.paths(animated)),
        )
