"""What a check finds: plain data that prints and serialises."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktransfer.show.printable import printable
from ktransfer.show.results import PrintedLines

SEVERITIES = ("error", "warning", "info")

#: Every kind of finding, in the order of a report within one severity.
KINDS = (
    "layout",
    "leak",
    "conflicting_labels",
    "few_classes",
    "class_mismatch",
    "empty_class",
    "unreadable",
    "oversized",
    "near_duplicate",
    "duplicate",
    "imbalance",
    "few_images",
    "look_alike",
    "no_label",
    "wrong_extension",
    "tiny",
    "size_outlier",
    "bit_depth",
    "value_range",
    "channel_mismatch",
    "grey",
    "animated",
    "odd_name",
    "skipped",
    "estimate",
)

_OF_COPIES = ("leak", "conflicting_labels", "near_duplicate", "duplicate")
_EXAMPLES = 3
_MANY_EXAMPLES = 20
# Of these each file has a reason of its own.
_ONE_BY_ONE = ("unreadable", "oversized", "skipped", "odd_name")
_MOST_OF_A_GROUP = 4


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found.

    Attributes:
        kind: one of `KINDS`.
        severity: `"error"` (the result would be wrong, or images are lost), `"warning"` (it may
            suffer) or `"info"`.
        count: how many images, groups of images, or classes.
        message: what was found, in a sentence.
        advice: what to do.
        paths: groups of paths that belong together; what concerns one image is a group of one.
        reasons: a remark on each group, or none at all.
        figures: numbers, where there are some.
    """

    kind: str
    severity: str
    count: int
    message: str
    advice: str
    paths: tuple[tuple[str, ...], ...] = ()
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "message": self.message,
            "advice": self.advice,
            "paths": [list(group) for group in self.paths],
            "reasons": list(self.reasons),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Return the reverse of `to_dict`."""
        own = {**data, "paths": tuple(map(tuple, data["paths"])), "reasons": tuple(data["reasons"])}
        return cls(**own)

    def lines(self, width: int = 100) -> Iterator[str]:
        """Of people's report: what, the first examples, what to do."""
        yield from _wrapped(f"{self.severity:<8} {self.kind}: {self.message}", width, indent=9)
        each_tells = self.severity == "error" or self.kind in _ONE_BY_ONE
        most = _MANY_EXAMPLES if each_tells else _EXAMPLES
        for at, group in enumerate(self.paths[:most]):
            reason = self.reasons[at] if self.reasons else ""
            # Not wrapped: a path is to be copied.
            between = "  =  " if self.kind in _OF_COPIES else "  "
            yield f"{'':<9}- {_together(group, between)}{f': {reason}' if reason else ''}"
        if len(self.paths) > most:
            yield f"{'':<9}  and {len(self.paths) - most:,} more; --json lists them all"
        yield from _wrapped(f"{'':<9}{self.advice}", width, indent=9)


def _together(group: Sequence[str], between: str) -> str:
    more = len(group) - _MOST_OF_A_GROUP
    return between.join(group[:_MOST_OF_A_GROUP]) + (f"  and {more} more" if more > 0 else "")


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


@dataclass(frozen=True)
class Report(PrintedLines):
    """What was found in a data set; `str` of it is a report for people.

    Attributes:
        data: what was looked at.
        findings: the most severe first.
        counts: readable images by part and class.
        seconds: wall time by phase: `scan` (names and headers), `look` (all pixels), `compare`.
    """

    data: str
    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    seconds: Mapping[str, float]

    @property
    def num_images(self) -> int:
        """How many images are readable."""
        return sum(sum(classes.values()) for classes in self.counts.values())

    def by_severity(self, severity: str) -> tuple[Finding, ...]:
        """Return the findings of one severity."""
        return tuple(each for each in self.findings if each.severity == severity)

    @property
    def verdict(self) -> str:
        """One sentence: whether to train on it."""
        errors, warnings = len(self.by_severity("error")), len(self.by_severity("warning"))
        images = f"{self.num_images:,} readable image{'' if self.num_images == 1 else 's'}"
        if errors:
            kinds = ", ".join(each.kind for each in self.by_severity("error"))
            return f"{images}; mend first: {kinds}"
        if warnings:
            kinds = ", ".join(each.kind for each in self.by_severity("warning"))
            return f"{images}; can be trained on, worth a look: {kinds}"
        return f"{images}; nothing wrong was found"

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON.

        The fields of `ktransfer doctor --json`.
        """
        return {
            "data": self.data,
            "verdict": self.verdict,
            "num_images": self.num_images,
            "counts": {part: dict(classes) for part, classes in self.counts.items()},
            "findings": [each.to_dict() for each in self.findings],
            "seconds": dict(self.seconds),
        }

    def __str__(self) -> str:
        lines = [line for each in self.findings for line in each.lines()]
        return "\n".join(map(printable, [*lines, f"verdict: {self.verdict}"]))


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings, the most severe first, then by kind."""
    return tuple(
        sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), KINDS.index(each.kind)))
    )
