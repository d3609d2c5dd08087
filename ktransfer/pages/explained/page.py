"""The page that explains training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ktransfer._version import __version__
from ktransfer.files.writing import check_new_file, write_file
from ktransfer.pages.explained import words
from ktransfer.pages.explained.points import points
from ktransfer.pages.rendering import render

_WHAT = "the page"
_WORDS = (
    *("PRESETS", "WAYS", "DIRECTIONS", "VERDICTS", "STEPS"),
    *("FITS", "FIT_SENTENCES", "STOPPING", "CURVES"),
)

#: The regression: its learning rate, momentum and epochs, and by which power of its number a wave
#: is fainter than the first.
FITTING = {"rate": 0.03, "momentum": 0.9, "epochs": 200, "fading": 0.3}

#: How far an epoch may lie above the lowest validation error, as a share, and still be a good fit.
TOLERANCE = 0.05


def write_explained(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a page that explains training to whoever plays with it, in a browser.

    A descent into a valley by `v = b v + g`, `w = w - lr v`, where learning rate and momentum may
    be changed; and a small regression that learns as one looks, from underfitting to overfitting,
    with early stopping. It asks nothing of a network.

    Args:
        path: where it is to lie; it must end in `.html`.
        overwrite: replace a file that is there.

    Raises:
        InputError: The path does not end in `.html`, exists (unless `overwrite`) or cannot be
            written.
    """
    target = check_new_file(path, _WHAT, overwrite=overwrite, ending=".html")
    page = render("explained/explained.html", {"facts": facts(), "version": __version__})

    def write(partial: Path) -> None:
        partial.write_text(page, encoding="utf-8")

    write_file(target, _WHAT, write, overwrite=overwrite)


def facts() -> dict[str, Any]:
    """Return all that the page reckons with and says, as plain data."""
    return {
        "points": points(),
        "fitting": FITTING,
        "tolerance": TOLERANCE,
        "words": {name.lower(): getattr(words, name) for name in _WORDS},
    }
