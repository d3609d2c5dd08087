"""Drawing a page of labelled images with Pillow."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ktransfer.data.inputs import check_not_read
from ktransfer.files.writing import check_new_file, write_file

_WHAT = "the page"
_CELL, _GAP, _MARGIN = 164, 10, 32
_LINE = 18
_INK, _SOFT, _PAPER, _BED, _RULE = "#1b1f24", "#656d76", "#ffffff", "#f3f4f6", "#d8dee4"


@dataclass(frozen=True, eq=False)
class Cell:
    """An image, uint8 `(height, width, 3)`, and the lines under it."""

    pixels: np.ndarray
    lines: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of images under one title, all with the same columns."""

    title: str
    summary: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, eq=False)
class Page:
    """Blocks under a title."""

    title: str
    subtitle: str
    blocks: tuple[Block, ...]


def check_target(path: str | os.PathLike[str], data: Any, *, overwrite: bool = False) -> str:
    """Return the path as a string.

    Args:
        path: where the page is to lie.
        data: what images it is drawn of.
        overwrite: whether it may take the place of a file.

    Raises:
        InputError: it does not end in `.png`, exists, is one of the images, or cannot be written.
    """
    check_not_read(path, _WHAT, data)
    return str(check_new_file(path, _WHAT, overwrite=overwrite, ending=".png"))


def write_page(page: Page, path: str, *, overwrite: bool = False) -> tuple[int, int]:
    """Draw a page and write it, whole or not at all.

    Returns:
        Its width and height in pixels.

    Raises:
        InputError: it cannot be written.
    """
    picture = draw_page(page)

    def write(partial: os.PathLike[str]) -> None:
        picture.save(partial, "PNG", optimize=True)

    write_file(path, _WHAT, write, overwrite=overwrite)
    return picture.size


def draw_page(page: Page) -> Image.Image:
    """Return the page as an RGB image."""
    columns = max(len(block.columns) for block in page.blocks)
    width = 2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP
    height = 2 * _MARGIN + 58 + sum(map(_block_height, page.blocks))
    picture = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    inner = width - 2 * _MARGIN
    draw.text((_MARGIN, _MARGIN), fitted(page.title, 26, inner), _INK, _font(26))
    draw.text((_MARGIN, _MARGIN + 36), fitted(page.subtitle, 15, inner), _SOFT, _font(15))
    top = _MARGIN + 58
    for block in page.blocks:
        _draw_block(picture, block, top)
        top += _block_height(block)
    return picture


def _block_height(block: Block) -> int:
    return 74 + sum(map(_row_height, block.rows))


def _row_height(row: Sequence[Cell]) -> int:
    return _CELL + _LINE * max(len(cell.lines) for cell in row) + 14


def _draw_block(picture: Image.Image, block: Block, top: int) -> None:
    draw = ImageDraw.Draw(picture)
    right = picture.width - _MARGIN
    draw.line((_MARGIN, top + 14, right, top + 14), _RULE)
    draw.text((_MARGIN, top + 24), block.title, _INK, _font(19))
    indent = _MARGIN + round(_font(19).getlength(block.title)) + 12
    draw.text((indent, top + 28), fitted(block.summary, 14, right - indent), _SOFT, _font(14))
    for at, title in enumerate(block.columns):
        draw.text((_left(at), top + 52), fitted(title, 13, _CELL), _SOFT, _font(13))
    top += 74
    for row in block.rows:
        for at, cell in enumerate(row):
            _draw_cell(picture, cell, _left(at), top)
        top += _row_height(row)


def _left(column: int) -> int:
    return _MARGIN + column * (_CELL + _GAP)


def _draw_cell(picture: Image.Image, cell: Cell, left: int, top: int) -> None:
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), _BED)
    image = _scaled(cell.pixels)
    at = (left + (_CELL - image.width) // 2, top + (_CELL - image.height) // 2)
    picture.paste(image, at)
    for number, line in enumerate(cell.lines):
        colour, size = (_SOFT, 12) if number else (_INK, 14)
        place = (left, top + _CELL + 3 + number * _LINE)
        draw.text(place, fitted(line, size, _CELL), colour, _font(size))


def _scaled(pixels: np.ndarray) -> Image.Image:
    """Scale an image of any shape into a cell; it stays at least one pixel wide."""
    height, width = pixels.shape[:2]
    scale = _CELL / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    filter_ = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    return Image.fromarray(pixels).resize(size, filter_, reducing_gap=3.0)


def fitted(text: str, size: int, width: int) -> str:
    """Return the text on one line that is at most `width` pixels wide, cut where it has to be.

    Pillow's own font has hardly more than ASCII: accents are left out, and what else it lacks, or
    what cannot be printed, is written as Python escapes it, which tells names apart where the
    font's boxes do not.
    """
    # Not more than could be seen of it: names may have thousands of letters.
    text = "".join(map(_drawn, text[: width // 2]))
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


@functools.cache
def _drawn(character: str) -> str:
    """Return the character as the font can draw it."""
    if character.isprintable():
        for each in (character, unicodedata.normalize("NFKD", character)[0]):
            if _is_drawn(each):
                return each
    return ascii(character)[1:-1]


def _is_drawn(character: str) -> bool:
    """Tell whether the font has the character: what it lacks is drawn as the same box."""
    font = _font(20)
    return character == " " or bytes(font.getmask(character)) != bytes(font.getmask("\uffff"))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
