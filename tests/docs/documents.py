"""The fenced blocks of a page of the documentation, and the pictures that its code names.

Pages say `weights="imagenet"`, as a reader would. Where tests run them there is no network:
`without_network` lets that word mean the weights "mini", and nothing else of the code is changed.
A block of text is marked in its fence: `title="output"` is what the Python block before it prints,
and compared; `title="a run on DATE ..."` is what a real run printed on that day, and is not.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ktransfer.backbones import loading
from ktransfer.demo import draw_flowers

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    ROOT / "README.md",
    *sorted(each for each in (ROOT / "docs").rglob("*.md") if each.name != "backbones.md"),
)

#: How many pictures there are in each folder that pages name. Under 100 to train on, so that `fit`
#: does not try to fine-tune.
PICTURES = {"photos/train": 45, "photos/val": 15, "photos/test": 10, "holiday": 5}

_FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}(ktransfer .*|pip .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what else its fence says, its text, and its line."""

    language: str
    title: str
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(found[1], found[2].strip(), found[3], text.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(text)
    ]


def commands_of(page: Path) -> list[list[str]]:
    """Every call of `ktransfer` in the page's shell blocks, as words."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    lines = [found[1] for found in _INDENTED.finditer(text)]
    for block in blocks_of(page):
        if block.language == "sh":
            lines += block.text.replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in line.split("&&")]
    words = [shlex.split(part, comments=True) for part in parts]
    return [each[1:] for each in words if each[:1] == ["ktransfer"]]


def draw_pictures(folder: Path) -> None:
    """Draw the pictures that pages name, each part from a seed of its own."""
    for seed, (name, number) in enumerate(PICTURES.items()):
        draw_flowers(folder / name, number, seed)


def without_network(monkeypatch) -> None:
    """Let `weights="imagenet"` mean the weights "mini", which are MobileNetV2's."""
    load = loading._load

    def load_mini(name, weights, input_size, preprocessing, options):
        if weights != "imagenet":
            return load(name, weights, input_size, preprocessing, options)
        assert name == "MobileNetV2", f"pages load MobileNetV2 only, not {name}"
        return load(name, "mini", input_size, preprocessing, {**options, "alpha": 0.35})

    monkeypatch.setattr(loading, "_load", load_mini)
