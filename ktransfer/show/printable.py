"""Names of files, classes and stages may hold anything: what a terminal is given is made safe here.

`progress`, `results` and `cli.terminal`, which write to it, pass all of it through here.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return the text on one line: control characters and bytes that are not UTF-8 are escaped.

    Example:
        >>> print(printable("red\x1b[2J\nblue \u00e9"))
        red\x1b[2J\nblue é
    """
    safe = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in safe)
