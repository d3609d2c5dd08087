"""Tables in text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(
    rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,), ruled: bool = False
) -> list[str]:
    r"""Return the rows as lines whose columns stand under each other, two blanks apart.

    Args:
        rows: cells, as many in each; the first row is the head.
        left: the columns that are set to the left, words; the others, numbers, are set to the
            right.
        ruled: whether a line is drawn under the head.

    Example:
        >>> print("\n".join(aligned([("block", "frozen"), ("stem", "1,024")], ruled=True)))
        block  frozen
        -------------
        stem    1,024
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]] if ruled else lines
