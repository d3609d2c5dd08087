"""A chart as a value: what it shows, and how it is described, once for page, file and text."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktransfer.files.writing import check_new_file, write_file
from ktransfer.show.charts.svg import finished, size_px
from ktransfer.show.charts.theme import DARK, LIGHT, PAGE, Theme, config
from ktransfer.show.printable import printable
from ktransfer.show.tables import aligned

Value = str | float | int | bool | None
#: Each row by column; values as `Value`, or numbers of NumPy.
Table = Sequence[Mapping[str, Any]]

#: What a picture's name ends in.
ENDINGS = (".svg", ".png")
_PADDING_PX = 16
_USUAL_SCALE = 2.0  # pixels of a PNG for each of the SVG: sharp on today's screens and in print


@dataclass(frozen=True, eq=False)
class Chart:
    """A chart: show it in a notebook, put it into a page, write it to a file, read its figures.

    Attributes:
        title: what stands above it, and what a screen reader says.
        drawing: an Altair chart, or a Vega-Lite specification as a dict. Its data are named, as in
            `altair.Chart(altair.NamedData("trials"))`; titles, colours of text, fonts and sizes
            come from the theme. Kept as the specification.
        tables: the rows of these data by name; columns have the names that the axes have, with
            units. What is not finite is drawn as a gap. Columns and tables whose names begin with
            an underscore are for drawing alone and no figures.

    Raises:
        ValueError: the drawing names data that there is no table of.
    """

    title: str
    drawing: Any
    tables: Mapping[str, Table]

    def __post_init__(self) -> None:
        drawing = self.drawing if isinstance(self.drawing, Mapping) else self.drawing.to_dict()
        # Made safe alike: a name in the data is found in the domain of a scale.
        drawing, tables = _drawable(drawing), _drawable(self.tables)
        missing = _named_data(drawing) - tables.keys()
        if missing:
            raise ValueError(f"the chart draws {sorted(missing)}, and has {sorted(tables)}")
        object.__setattr__(self, "title", printable(self.title))
        object.__setattr__(self, "drawing", drawing)
        object.__setattr__(self, "tables", tables)

    def spec(self, theme: Theme = LIGHT) -> dict[str, Any]:
        """Return the whole Vega-Lite specification, data included, as plain data."""
        return {
            **copy.deepcopy(self.drawing),
            "title": self.title,
            "padding": _PADDING_PX,
            "datasets": copy.deepcopy(self.tables),
            # In place of Altair's, which has a size of panel alone.
            "config": config(theme),
        }

    def svg(self) -> str:
        """Return the chart as SVG text to put into an HTML page, light or dark.

        Text and axes have the colour of the page's text (`currentColor`), and what lies behind the
        chart shows through. Words that lines pass behind have a halo where the page sets the CSS
        variable `--chart-paper` to its background. Text stays text; ids are the chart's own.
        """
        return self._drawn(PAGE)

    def png(self, *, width_px: int | None = None, dark: bool = False) -> bytes:
        """Return the chart as the bytes of a PNG file, on paper of its own.

        Args:
            width_px: how wide it is; None: twice as wide as the SVG.
            dark: whether the paper is dark.
        """
        import vl_convert

        svg = self._drawn(DARK if dark else LIGHT)
        width, _ = size_px(svg)
        scale = _USUAL_SCALE if width_px is None else width_px / width
        return bytes(vl_convert.svg_to_png(svg, scale=scale))

    def save(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, dark: bool = False
    ) -> None:
        """Write the chart, on paper of its own, as SVG or PNG: the ending of the path decides.

        Args:
            path: where to; it ends in `.svg` or `.png`.
            overwrite: replace a file that is there.
            dark: whether the paper is dark.

        Raises:
            InputError: the path has another ending, exists (unless `overwrite`) or cannot be
                written.
        """
        target = check_picture(path, overwrite=overwrite)
        if target.suffix.lower() == ".png":
            contents = self.png(dark=dark)
        else:
            contents = self._drawn(DARK if dark else LIGHT).encode()

        def write(partial: Path) -> None:
            partial.write_bytes(contents)

        write_file(target, "the picture", write, overwrite=overwrite)

    def figures(self) -> dict[str, list[list[str]]]:
        """Return every figure as tables of text, by name; the first row of each is the head.

        Unlike the names in the drawing, a `-` stands for what is missing or not finite.
        """
        return {
            name: _as_text(rows)
            for name, rows in self.tables.items()
            if rows and not name.startswith("_")
        }

    def text(self) -> str:
        """Return the title and every figure as plain text, for those who do not see the picture."""
        parts = [self.title]
        for name, rows in self.figures().items():
            words = {key for row in self.tables[name] for key in row if isinstance(row[key], str)}
            left = {at for at, key in enumerate(rows[0]) if key in words}
            parts += ["", name, *aligned(rows, left=left, ruled=True)]
        return "\n".join(parts)

    def __str__(self) -> str:
        return self.text()

    def _repr_svg_(self) -> str:
        # On paper of its own: notebooks show pictures apart from their page, where text is black.
        return self._drawn(LIGHT)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self._repr_svg_(), "text/plain": self.text()}

    def _drawn(self, theme: Theme) -> str:
        import vl_convert

        # The list of addresses is empty: a drawing that names one reaches no network.
        drawn = vl_convert.vegalite_to_svg(
            json.dumps(self.spec(theme), allow_nan=False), allowed_base_urls=[]
        )
        return finished(drawn, self.title)


def check_picture(
    path: str | os.PathLike[str], what: str = "the picture", *, overwrite: bool = False
) -> Path:
    """Return the path of a picture that may be written; an `InputError` says why it may not."""
    return check_new_file(path, what, overwrite=overwrite, ending=ENDINGS)


def _drawable(value: Any) -> Any:
    """As JSON and SVG take it: no NaN, no infinity, no control characters, no numbers of NumPy."""
    if isinstance(value, Mapping):
        return {printable(key): _drawable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_drawable(each) for each in value]
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _named_data(part: Any) -> set[str]:
    """Return the names of data in any part of a drawing."""
    if isinstance(part, Mapping):
        data = part.get("data")
        own = {str(data["name"])} if isinstance(data, Mapping) and "name" in data else set()
        return own.union(*(_named_data(each) for each in part.values()))
    if isinstance(part, list | tuple):
        return set().union(*(_named_data(each) for each in part))
    return set()


def _as_text(rows: Table) -> list[list[str]]:
    columns = list(dict.fromkeys(key for row in rows for key in row if not key.startswith("_")))
    return [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
