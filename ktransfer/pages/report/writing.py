"""Writing the report of a classifier as one file of HTML."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ktransfer._version import __version__
from ktransfer.classifier import Classifier
from ktransfer.data.inputs import check_not_read
from ktransfer.files.writing import check_new_file, write_file
from ktransfer.pages.parts import Section
from ktransfer.pages.rendering import render
from ktransfer.pages.report.blocks import by_depth, row_of_blocks
from ktransfer.pages.report.certainty import certainty
from ktransfer.pages.report.circumstances import costs, problems, reproduce
from ktransfer.pages.report.classes import by_class, confused
from ktransfer.pages.report.judging import Judged, judge
from ktransfer.pages.report.mistakes import mistakes, num_shown
from ktransfer.pages.report.stages import rates, training
from ktransfer.pages.report.verdict import decided, how_good, next_steps
from ktransfer.processes.keras_settings import own_settings
from ktransfer.show.progress import working
from ktransfer.show.results import Printed, Row

_WHAT = "the report"
_TEMPLATE = "report/report.html"


@dataclass(frozen=True, eq=False)
class ReportPage(Printed):
    """What is on a page that `write_report` wrote.

    Attributes:
        path: of the page.
        size_bytes: of the page.
        part: which images the model was judged on: `"test"`, `"validation"`, or `"all"` of given
            ones.
        num_images: how many.
        accuracy: share of them that are classified right.
        interval: 95 % interval of it.
        num_photos: how many photos are shown.
        sections: titles, from above.
        notes: what is to be said of the images.
    """

    path: str
    size_bytes: int
    part: str
    num_images: int
    accuracy: float
    interval: tuple[float, float]
    num_photos: int
    sections: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return asdict(self)

    def printed(self) -> Iterator[Row]:
        """Say where the page lies and what is on it."""
        low, high = self.interval
        images = "images" if self.part == "all" else f"{self.part} images"
        said = f" on {self.num_images:,} {images} (95 % interval {low:.1%} to {high:.1%})"
        yield Row("Accuracy", (said,), figure=f"{self.accuracy:.1%}", verbatim=True)
        yield Row("Report", (f"{self.path}, {self.size_bytes / 1e6:.1f} MB",), verbatim=True)
        yield Row("Photos", (f"{self.num_photos} are shown",))
        yield Row("Notes", self.notes, bullet=True)


@own_settings()
def write_report(
    classifier: Classifier,
    path: str | os.PathLike[str],
    *,
    data: Any = None,
    explain: bool = True,
    overwrite: bool = False,
) -> ReportPage:
    """Write what is known of a classifier as one page of HTML, which asks nothing of a network.

    How good it is, and what that is worth; what was decided and why; the photos that are wrong;
    which classes are taken for which; how the training went, what was frozen and the proof of it;
    whether its probabilities can be trusted; faults of the data; what it cost; how to repeat it.

    Args:
        classifier: what a training made, or a run that was loaded.
        path: where to write it; it must end in `.html`.
        data: labelled images to judge it on, as `Classifier.evaluate` takes them; None: the test
            part of its training where there is one, or else its validation part. Images that are
            gone or changed since are left out, and that is said; where none is left, the page
            has the figures of the training, and no photos.
        explain: whether to show where in the photos the model found what speaks for the class
            that it says (Grad-CAM).
        overwrite: replace a file that is there; never one of the images.

    Returns:
        What is on the page.

    Raises:
        InputError: the data cannot be used, there is nothing to report on, or the page exists or
            cannot be written.
    """
    check_not_read(path, _WHAT, *_sources(classifier, data))
    target = check_new_file(path, _WHAT, overwrite=overwrite, ending=".html")
    judged = judge(classifier, data)
    with working("writing the report", shown=classifier.verbose):
        sections = _sections(classifier, judged, explain=explain)
        text = render(_TEMPLATE, _values(classifier, judged, sections))
    contents = text.encode("utf-8", "backslashreplace")

    def write(partial: Path) -> None:
        partial.write_bytes(contents)

    write_file(target, _WHAT, write, overwrite=overwrite)
    return ReportPage(
        path=str(target),
        size_bytes=len(contents),
        part=judged.part,
        num_images=judged.score.num_images,
        accuracy=judged.score.accuracy,
        interval=judged.score.interval,
        num_photos=sum(map(num_shown, sections)),
        sections=tuple(each.title for each in sections),
        notes=judged.notes,
    )


def _sources(classifier: Classifier, data: Any) -> list[Any]:
    """Say what is read, as far as it has a name."""
    source = classifier.data.get("source") if data is None else data
    return [] if source is None else [source]


def _sections(classifier: Classifier, judged: Judged, *, explain: bool) -> list[Section]:
    result = classifier.result
    block_names = [name for name, _, _ in classifier.blocks]
    found = [
        how_good(classifier, judged),
        decided(classifier),
        next_steps(classifier, judged),
        mistakes(classifier, judged, explain=explain),
        confused(judged.score, classifier.class_names),
        by_class(judged.score),
        *([training(result), rates(result, block_names)] if result else []),
        row_of_blocks(classifier),
        by_depth(result) if result else None,
        certainty(judged, result.temperature if result else None),
        problems(result, judged),
        costs(result) if result else None,
        reproduce(classifier, datetime.date.today().isoformat()),
    ]
    return [each for each in found if each is not None]


def _values(classifier: Classifier, judged: Judged, sections: list[Section]) -> dict[str, Any]:
    names = classifier.class_names
    few = 4
    shown = ", ".join(names[:few]) + (f" and {len(names) - few} more" if len(names) > few else "")
    return {
        "title": f"{shown}: {100 * judged.score.accuracy:.1f} % right",
        "classes": shown,
        "about": f"{classifier.backbone.name}, judged on {judged.score.num_images:,} images",
        "version": __version__,
        "sections": sections,
    }
