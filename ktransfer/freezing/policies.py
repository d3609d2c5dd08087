"""Policies: what of a backbone to freeze, as plain data that fits JSON and a command line.

A policy says which blocks or layers are meant and knows no backbone: whether the block is there and
whether a pattern fits is found out when `freeze` applies it. Only what no backbone could repair (an
unknown kind, minus two blocks, no pattern) is refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ktransfer.errors import InputError, unknown_name

BARE = ("all", "none")
_COUNTED = ("first", "all_but_last")
_NAMED = ("up_to", "before")
_KINDS = (*BARE, *_COUNTED, *_NAMED, "matching", "where")


@dataclass(frozen=True)
class Freeze:
    """What of a backbone to freeze, as plain data; make one with the methods below.

    `str(policy)` is its text for JSON and the command line ("all_but_last:4"), and `Freeze.parse`
    the reverse, for all but a predicate.

    Attributes:
        kind: name of the method that makes it.
        argument: A number of blocks, the name of a block or layer, a tuple of patterns, or a
            predicate.

    Raises:
        InputError: Unknown kind, or an argument that does not fit it.

    Example:
        >>> Freeze.parse("all_but_last:4") == Freeze.all_but_last(4)
        True
        >>> str(Freeze.matching("block_1_*", "Conv1"))
        'matching:block_1_*,Conv1'
    """

    kind: str
    argument: Any = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown_name("freeze policy", str(self.kind), _KINDS)
        if not _fits(self.kind, self.argument):
            raise InputError(
                f"freeze policy {self.kind!r} takes {_EXPECTED[self.kind]}; received "
                f"{self.argument!r}"
            )

    @classmethod
    def all(cls) -> Freeze:
        """Return every block."""
        return cls("all")

    @classmethod
    def none(cls) -> Freeze:
        """No block."""
        return cls("none")

    @classmethod
    def first(cls, num_blocks: int) -> Freeze:
        """Return the first blocks, those next to the images."""
        return cls("first", num_blocks)

    @classmethod
    def all_but_last(cls, num_blocks: int) -> Freeze:
        """Return all but the last blocks, which train."""
        return cls("all_but_last", num_blocks)

    @classmethod
    def up_to(cls, block: str) -> Freeze:
        """Return the blocks up to the one of this name, that one too.

        Args:
            block: the name of a block, or of a layer: the block that holds it is meant.
        """
        return cls("up_to", block)

    @classmethod
    def before(cls, block: str) -> Freeze:
        """Return the blocks before the one of this name, which trains with all behind it.

        Args:
            block: as in `up_to`.
        """
        return cls("before", block)

    @classmethod
    def matching(cls, *patterns: str) -> Freeze:
        """Return the layers whose name, or every variable's path, fits one of the patterns.

        Patterns are those of `fnmatch`: `*` is any run of characters, "/" included. Note that
        "block_1*" fits block_10, too; "block_1_*" does not. Layers inside layers are found by their
        own names and by paths ("*/mha/*").
        """
        return cls("matching", patterns)

    @classmethod
    def where(cls, predicate: Callable[[Any], bool]) -> Freeze:
        """Return the layers for which `predicate(layer)` is true.

        It is asked of every layer with weights, the outermost first, and of the layers inside it if
        it says no.
        """
        return cls("where", predicate)

    @classmethod
    def parse(cls, text: str) -> Freeze:
        """Return the policy that `str(policy)` describes.

        Args:
            text: "all", "none", "first:3", "all_but_last:4", "up_to:NAME", "before:NAME" or
                "matching:PATTERN,PATTERN".

        Returns:
            The policy.

        Raises:
            InputError: Unknown kind, an argument that does not fit, or a predicate, which is code.

        Example:
            >>> Freeze.parse("first:3").argument
            3
        """
        kind, colon, rest = text.partition(":")
        if kind == "where":
            raise InputError(f"a predicate is code and cannot be read from text; received {text!r}")
        if kind == "matching":
            return cls(kind, tuple(rest.split(",")))
        if kind in _COUNTED and rest.removeprefix("-").isdecimal():
            return cls(kind, int(rest))
        return cls(kind, rest if colon else None)

    def __str__(self) -> str:
        if self.kind in BARE:
            return self.kind
        if self.kind == "where":
            return f"where:{getattr(self.argument, '__name__', repr(self.argument))}"
        argument = ",".join(self.argument) if self.kind == "matching" else self.argument
        return f"{self.kind}:{argument}"


_EXPECTED = {
    "all": "no argument",
    "none": "no argument",
    "first": "a number of blocks, 0 or more",
    "all_but_last": "a number of blocks, 0 or more",
    "up_to": "the name of a block or layer",
    "before": "the name of a block or layer",
    "matching": "patterns, none of them empty or with a comma (write ? for it)",
    "where": "a function of a layer",
}


def _fits(kind: str, argument: Any) -> bool:
    if kind in BARE:
        return argument is None
    if kind in _COUNTED:
        return isinstance(argument, int) and not isinstance(argument, bool) and argument >= 0
    if kind in _NAMED:
        return isinstance(argument, str) and bool(argument)
    if kind == "where":
        return callable(argument)
    # A comma divides patterns in the text form.
    patterns = argument if isinstance(argument, tuple) else ()
    return bool(patterns) and all(isinstance(p, str) and p and "," not in p for p in patterns)
