"""Findings on pixels: sizes, channels and ranges that differ from the rest or say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ktransfer.data.images.value_range import KINDS, SHORT, Extremes, ValueRange, choose, in_words
from ktransfer.doctor.findings import Finding
from ktransfer.doctor.inspection import MODES, THUMBNAIL_PX
from ktransfer.doctor.subject import Subject

#: A shorter side under this shows nothing that a network for photos knows.
TINY_PX = 16
#: A longer side of more than this many shorter ones is a strip; the centre that is taken of it is
#: next to nothing.
LONGEST_STRIP = 10
#: Grey levels between the darkest and the lightest pixel of a thumbnail that shows anything.
_BLANK_LEVELS = 4
#: Of the range from black to white; 14 bits in 16 use a quarter.
_LEAST_USED = 0.25

_CHANNELS = {"CMYK": "CMYK", "LAB": "Lab colours", "YCbCr": "YCbCr"}


def pixel_findings(subject: Subject, records: np.ndarray) -> Iterator[Finding]:
    """Of the images that were decoded."""
    seen = records["seen"].astype(np.bool_)
    yield from _tiny(subject, records, seen)
    depth = list(_depth(subject, records, seen))
    yield from depth
    yield from _values(subject, records, seen, said=bool(depth))
    yield from _channels(subject, records, seen)
    yield from _grey(subject, records, seen)
    yield from _animated(subject, np.flatnonzero(seen & records["animated"].astype(np.bool_)))


def _tiny(subject: Subject, records: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    shorter = np.minimum(records["width"], records["height"])
    longer = np.maximum(records["width"], records["height"])
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
        tuple(f"{records['width'][at]} x {records['height'][at]} pixels" for at in tiny),
    )


def _depth(subject: Subject, records: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    """Images that use so little of their 16 bits that by these they are all but black."""
    grey = np.flatnonzero(seen & (records["depth"] > 0))
    short = grey[records["depth"][grey] == 1 + KINDS.index(SHORT)]
    chosen = subject.files.value_range
    if subject.measured and chosen:
        yield _measured(records, grey, chosen)
    low, white = chosen or (0.0, 65535.0)
    used = (records["high"][short] - low) / (white - low)
    dark = short[(used <= _LEAST_USED) & (records["high"][short] > 0)]
    if len(dark):
        yield _dark(subject, records, dark, white, every=len(dark) == len(short))
    colour = seen & records["deep"].astype(np.bool_) & (records["depth"] == 0)
    brightest = records["thumbnail"][colour].max(initial=0)
    if colour.any() and brightest <= 255 * _LEAST_USED:
        yield Finding(
            "bit_depth",
            "warning",
            int(colour.sum()),
            f"{int(colour.sum()):,} images have 16 bits a colour and nothing lighter than "
            f"{brightest} of 255",
            "of these the upper 8 bits are read: if white is less than 65535 in them, save them "
            "with 8 bits, or give their values as arrays of uint16",
        )


def _measured(records: np.ndarray, grey: np.ndarray, chosen: ValueRange) -> Finding:
    low, high = records["low"][grey].min(), records["high"][grey].max()
    short = (records["depth"][grey] == 1 + KINDS.index(SHORT)).any()
    return Finding(
        "bit_depth",
        "warning" if short or low < 0 else "info",
        len(grey),
        f"{len(grey):,} image{'s' if len(grey) > 1 else ''} of 16 or 32 bits hold values from "
        f"{low:.6g} to {high:.6g}: by the range of their type they would be all but black, or "
        "each be scaled otherwise",
        f"training takes them so that {in_words(chosen)} (value_range='auto', --value-range auto), "
        "and keeps that with the model; give value_range=(LOW, HIGH), --value-range LOW,HIGH, if "
        "the device says otherwise",
    )


def _dark(
    subject: Subject, records: np.ndarray, dark: np.ndarray, white: float, *, every: bool
) -> Finding:
    highest = float(records["high"][dark].max())
    way_out = choose([Extremes(0.0, highest, SHORT)])
    shown = f"({way_out[0]:g}, {way_out[1]:g})" if way_out else "(LOW, HIGH)"
    option = shown.strip("()").replace(" ", "")
    return Finding(
        "bit_depth",
        "warning",
        len(dark),
        f"{'all ' if every else ''}{len(dark):,} 16-bit image{'s' if len(dark) > 1 else ''} with "
        f"values up to {highest:,.0f}, where {white:,.0f} is white: they are all but black",
        f"value_range='auto' (--value-range auto) measures what is white in them, value_range="
        f"{shown} (--value-range {option}) says it"
        if every
        else "among 16-bit images that are not: of another device, or another depth? Save them so "
        "that the same value is white in all",
        () if every else tuple((path,) for path in subject.paths(dark)),
        () if every else tuple(f"values up to {records['high'][at]:,.0f}" for at in dark),
    )


def _values(
    subject: Subject, records: np.ndarray, seen: np.ndarray, *, said: bool
) -> Iterator[Finding]:
    thumbnails = records["thumbnail"].reshape(len(records), THUMBNAIL_PX**2)
    low, high = thumbnails.min(axis=1), thumbnails.max(axis=1)
    blank = seen & (high.astype(np.int16) - low <= _BLANK_LEVELS)
    deep = seen & records["deep"].astype(np.bool_)
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
            "their white is right: they are scaled by value_range, or where there is none by 65535",
            tuple((path,) for path in subject.paths(at)),
            tuple(_range(int(index), low, high, blank, records) for index in at),
        )
    elif deep.any() and not said:
        yield Finding(
            "value_range",
            "info",
            int(deep.sum()),
            "all images have 16 or 32 bits",
            f"they are scaled to 8: {in_words(chosen)} (value_range)"
            if (chosen := subject.files.value_range)
            else "they are scaled to 8, white being 65535 (floats: 1, 255 or 65535, the smallest "
            "that holds all values)",
        )


def _range(
    index: int, low: np.ndarray, high: np.ndarray, blank: np.ndarray, records: np.ndarray
) -> str:
    if not blank[index]:
        return f"mode {_mode(records, index)}, 16 or 32 bits"
    if high[index] <= 2 * _BLANK_LEVELS:
        return "all black"
    if low[index] >= 255 - 2 * _BLANK_LEVELS:
        return "all white"
    return f"one shade ({low[index]} to {high[index]} of 255)"


def _mode(records: np.ndarray, index: int) -> str:
    code = int(records["mode"][index])
    return MODES[code] if code < len(MODES) else "unknown"


def _channels(subject: Subject, records: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    kinds: dict[str, np.ndarray] = {}
    alpha = seen & records["alpha"].astype(np.bool_)
    kinds["transparency, laid on white"] = alpha
    for mode, name in _CHANNELS.items():
        kinds[f"{name}, converted without a profile"] = seen & (
            records["mode"] == MODES.index(mode)
        )
    kinds["palette"] = seen & ~alpha & (records["mode"] == MODES.index("P"))
    kinds["black and white only"] = seen & (records["mode"] == MODES.index("1"))
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


def _grey(subject: Subject, records: np.ndarray, seen: np.ndarray) -> Iterator[Finding]:
    grey = seen & records["grey"].astype(np.bool_)
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
