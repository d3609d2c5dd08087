"""What a page is made of, as plain data: a template says how each looks, and escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Text:
    """Paragraphs."""

    kind: ClassVar[str] = "text"
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Points:
    """A list of sentences; `label` says what they are."""

    kind: ClassVar[str] = "points"
    items: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True)
class Facts:
    """Names, each with what is known of it."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what is shown.
        value: what it is sorted by; None: the text.
    """

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of a row is its name.

    Attributes:
        caption: what it shows.
        head: names of the columns.
        rows: as many cells in each; texts, or cells that are sorted by a number.
        words: the columns that are words; the others are set to the right.
        sortable: whether a click on a column's name sorts the rows.
        folded: whether it is shown only when it is asked for, and in print.
    """

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[int] = frozenset({0})
    sortable: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Drawings:
    """A drawing at two sizes, SVG text in which all names are escaped.

    Attributes:
        wide: for screens of computers and for paper.
        narrow: for phones, with letters as large.
    """

    wide: str
    narrow: str


@dataclass(frozen=True)
class Picture:
    """A drawing, and the same as a table for those who do not see it.

    Attributes:
        drawings: of it.
        caption: what it shows, in a sentence.
        tables: its figures.
    """

    kind: ClassVar[str] = "picture"
    drawings: Drawings
    caption: str
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Photo:
    """An image that the model was asked about.

    Attributes:
        name: of the file.
        photo: a data URI.
        heat: the same image with what spoke for the class, a data URI; empty: not computed.
        truth: its class.
        said: the class that the model says.
        probability: of that class.
        where: what the heat shows, in words.
    """

    name: str
    photo: str
    heat: str
    truth: str
    said: str
    probability: float
    where: str = ""

    @property
    def right(self) -> bool:
        """Whether the model says its class."""
        return self.truth == self.said


@dataclass(frozen=True)
class Photos:
    """Images side by side."""

    kind: ClassVar[str] = "photos"
    title: str
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    kind: ClassVar[str] = "code"
    label: str
    lines: tuple[str, ...]
    folded: bool = False


@dataclass(frozen=True)
class Segment:
    """A block of a row of blocks.

    Attributes:
        title: what is shown where the pointer rests on it.
        trained: whether it trained.
        weight: how wide it is, beside the others.
    """

    title: str
    trained: bool
    weight: float


@dataclass(frozen=True)
class Strip:
    """A row of blocks, from the image to the classes."""

    kind: ClassVar[str] = "strip"
    segments: tuple[Segment, ...]
    caption: str


@dataclass(frozen=True)
class Verdict:
    """How good it is: one number, what it is worth, and what it is to be compared with.

    Attributes:
        share: the number, in [0, 1].
        of_what: what it is a share of.
        interval: 95 % interval of it.
        baseline: what is reached without looking.
        baseline_words: how.
        others: further figures, each with its name and what it means.
        sentence: what to think of it.
    """

    kind: ClassVar[str] = "verdict"
    share: float
    of_what: str
    interval: tuple[float, float]
    baseline: float
    baseline_words: str
    others: tuple[tuple[str, str, str], ...]
    sentence: str


Part = Text | Points | Facts | Table | Picture | Photos | Code | Strip | Verdict


@dataclass(frozen=True)
class Section:
    """A part of a page under a title.

    Attributes:
        key: what a link to it is called.
        title: of it.
        parts: what is in it, in order.
    """

    key: str
    title: str
    parts: tuple[Part, ...] = field(default=())


def cells(*values: Any) -> tuple[Cell, ...]:
    """Return a row: texts as they are, and pairs of a number and its text."""
    return tuple(
        Cell(value[1], value[0]) if isinstance(value, tuple) else Cell(str(value))
        for value in values
    )


def percent(share: float | None) -> str:
    """Return a share in [0, 1] for people.

    Example:
        >>> percent(0.9673), percent(None)
        ('96.7 %', '-')
    """
    return "-" if share is None else f"{100 * share:.1f} %"


def shares(*values: float | None) -> tuple[tuple[float, str], ...]:
    """Share as cells that are sorted by their numbers; unknown ones come first."""
    return tuple((-1.0 if value is None else value, percent(value)) for value in values)


def count(number: float, noun: str, nouns: str = "") -> str:
    """Return a number and its noun.

    Example:
        >>> count(1, "image"), count(2_000, "class", "classes")
        ('1 image', '2,000 classes')
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
