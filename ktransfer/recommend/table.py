"""A comparison of backbones as lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ktransfer.recommend.ranking import LEAST_COMPARED, Agreement
from ktransfer.recommend.rated import RatedBackbone

_NAMES = {"imagenet_top1": "ImageNet top-1", "logme": "LogME", "h_score": "H-score"}
_FEATURES = {"last": "last", "all_blocks": "all blocks", "all_blocks_and_inner": "all + inner"}
_Figure = Callable[[RatedBackbone], float | None]

FOOTNOTES = (
    "*: on the front of accuracy and latency. (n): the rank by that column alone.",
    "accuracy: a linear head on frozen features, each image left out in turn. LogME, H-score: of "
    "the last block.",
    "ms: one image, here, median. MB: float32 weights. memory: estimated MB, weights and live "
    "activations, without the runtime.",
    "ImageNet: published top-1 accuracy, the plain ranking.",
)


def table_lines(rated: Sequence[RatedBackbone]) -> Iterator[str]:
    """Return the table of those that could be had, in their order."""
    return _aligned([_HEADER, *_rows(rated)])


_HEADER = (
    "     backbone", "accuracy", "95 % interval", "features", "ms", "MB", "memory", "LogME",
    "H-score", "ImageNet",
)  # fmt: skip


def _rows(rated: Sequence[RatedBackbone]) -> Iterator[tuple[str, ...]]:
    accuracy = _ranked(rated, lambda each: each.accuracy, "{:.1%}")
    logme = _ranked(rated, lambda each: each.logme, "{:.2f}")
    h_score = _ranked(rated, lambda each: each.h_score, "{:.2f}")
    imagenet = _ranked(rated, lambda each: each.imagenet_top1, "{:.1%}")
    for at, each in enumerate(rated):
        low, high = each.interval or (0.0, 1.0)
        over = "" if each.meets_limits else ", over the limits"
        yield (
            f"{at + 1:>2} {'*' if each.on_front else ' '} {each.short_label}{over}",
            accuracy[at],
            f"{100 * low:.1f} to {100 * high:.1f}",
            _FEATURES[each.features or "last"],
            f"{each.latency_ms:.1f}",
            f"{each.size_mb:.1f}",
            f"{each.memory_mb:.1f}",
            logme[at],
            h_score[at],
            imagenet[at],
        )


def _ranked(rated: Sequence[RatedBackbone], figure: _Figure, form: str) -> list[str]:
    """Return the figures, each with its rank among those that are known."""
    known = [value for each in rated if (value := figure(each)) is not None]
    return [
        "-"
        if value is None
        else f"{form.format(value)} ({1 + sum(other > value for other in known)})"
        for value in map(figure, rated)
    ]


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *rest in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        yield "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()


def agreement_lines(agreements: Mapping[str, Agreement]) -> Iterator[str]:
    """Say how well other rankings agree with the accuracies, by their names."""
    for name, title in _NAMES.items():
        if name in agreements:
            each = agreements[name]
            yield (
                f"{title} and the accuracies rank {each.num_candidates} candidates alike by "
                f"Spearman {each.spearman:+.2f}, Kendall {each.kendall:+.2f}."
            )
    silent = [title for name, title in _NAMES.items() if name not in agreements]
    if silent:
        yield (
            f"How well {', '.join(silent)} rank{'s' if len(silent) == 1 else ''} the candidates "
            f"cannot be said of fewer than {LEAST_COMPARED}."
        )
