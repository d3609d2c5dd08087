"""Finds the files that a table names: by their paths, or as nearly as the paths tell."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote

from ktransfer.data.parts import listed
from ktransfer.data.reading.csv_file import decoded
from ktransfer.data.reading.look_alikes import folded
from ktransfer.data.reading.part_names import holds_images_by_name, part_of
from ktransfer.data.reading.walking import files_below, is_folder, subfolders

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_DRIVE = re.compile(r"[a-z]:[\\/]|\\\\", re.IGNORECASE)
# More files than this are not looked through for those that are not where they should be.
_MOST_FILES = 1_000_000


class Locator:
    """Finds files below a folder, and remembers how it did.

    Args:
        folder: where relative paths start; "" for the working directory.
        part: "train" of a table train.csv: of files of one name, those in such a folder are meant.
    """

    def __init__(self, folder: str, part: str | None = None) -> None:
        self.folder = folder
        self.part = part
        self._indices: dict[str, dict[str, list[str]]] = {}
        self._found: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._owners: dict[str, str] = {}

    def find(self, path: str) -> tuple[str, str | None]:
        """Return a path that exists, and None.

        Or the path as it was to be, and why there is nothing.
        """
        whole = os.path.join(self.folder, path)
        # lexists: a dangling link does exist, and is reported as what it is.
        if os.path.lexists(whole) and not _is_id_of_folder(whole):
            return whole, None
        if any(ord(each) < 32 for each in path):
            return whole, "names a file that does not exist"
        for how, found in self._candidates(path):
            if os.path.lexists(found) and not is_folder(found):
                return self._told(how, path, found), None
        several = self._by_name(path)
        if len(several) == 1 and self._owners.setdefault(several[0], path) == path:
            return self._told("found by the last names in them", path, several[0]), None
        place = path if _is_foreign(_plain(path)) else whole
        return place, _reason(path, several, self.folder)

    def notes(self, where: str) -> list[str]:
        """Say how files were found that are not where their paths say, with an example of each."""
        return [
            f"{number:,} {'paths' if number > 1 else 'path'} of {where} {how}, e.g. "
            f"{self._examples[how]}"
            for how, number in self._found.items()
        ]

    def _told(self, how: str, path: str, found: str) -> str:
        self._found[how] += 1
        self._examples.setdefault(how, f"{path!r} as {found!r}")
        return found

    def _candidates(self, path: str) -> Iterable[tuple[str, str]]:
        """Other ways to read a path, the likeliest first."""
        folder, plain = self.folder, decoded(path).strip()
        turned = plain.replace("\\", "/")
        above = os.path.dirname(os.path.abspath(folder))
        yield "read as Windows text (cp1252)", os.path.join(folder, plain)
        yield "read without blanks around them", os.path.join(folder, path.strip())
        yield "read with their backslashes as slashes", os.path.join(folder, turned)
        if _is_foreign(turned):
            return
        if turned.startswith("~"):
            yield "found in your home folder", os.path.expanduser(turned)
        yield "found from the folder above", os.path.join(above, turned)
        yield "found from the working directory", os.path.abspath(turned)
        for sibling in self._siblings():
            yield "found in a folder beside the table", os.path.join(sibling, turned)

    def _siblings(self) -> list[str]:
        """Return the folders beside that of the table that are named as images."""
        own = os.path.abspath(self.folder)
        beside = subfolders(os.path.dirname(own))
        named = [each for each in beside if holds_images_by_name(os.path.basename(each))]
        return [each for each in named if os.path.abspath(each) != own]

    def _by_name(self, path: str) -> list[str]:
        """Return the files whose last names are those of the path, with or without an extension."""
        turned = _plain(path)
        steps = [each for each in folded(turned).split("/") if each not in ("", ".", "..")]
        name, above = (steps or [""])[-1], steps[:-1]
        below = self._indexed(self.folder or ".")
        found = _fitting(name, [below]) or _fitting(name, map(self._indexed, self._siblings()))
        if not name or not found:
            return []
        agreeing = {each: _agreeing(each, above) for each in found}
        most = max(agreeing.values())
        # A path of this machine must agree in full: another folder is another image.
        if most < len(above) and not _is_foreign(turned):
            return []
        best = [each for each in found if agreeing[each] == most]
        own = [e for e in best if self.part and self.part in map(part_of, e.split(os.sep)[:-1])]
        return own if len(best) > 1 and own else best

    def _indexed(self, root: str) -> dict[str, list[str]]:
        """Return the files below a folder by their names, and by their names without extension."""
        if root not in self._indices:
            index: dict[str, list[str]] = {}
            for each in itertools.islice(files_below(root), _MOST_FILES):
                name = folded(os.path.basename(each))
                index.setdefault(name, []).append(each)
                index.setdefault(f"{os.path.splitext(name)[0]}.*", []).append(each)
            self._indices[root] = index
        return self._indices[root]


def _fitting(name: str, indices: Iterable[dict[str, list[str]]]) -> list[str]:
    several = [index.get(name) or index.get(f"{name}.*", []) for index in indices]
    return [each for found in several for each in found]


def _plain(path: str) -> str:
    """Return a path without what spreadsheets, browsers and Label Studio make of it."""
    plain = decoded(path).strip().replace("\\", "/")
    # Label Studio refers to local files as /data/local-files/?d=photos/1.jpg.
    plain = re.sub(r"^.*[?&]d=", "", plain)
    return unquote(re.sub(r"[?#].*$", "", plain)) if _URL.match(plain) else plain


def _is_id_of_folder(path: str) -> bool:
    return not os.path.splitext(path)[1] and is_folder(path)


def _agreeing(path: str, above: list[str]) -> int:
    """Say how many of the folders named last are those that a file lies in."""
    folders = [folded(each) for each in path.split(os.sep)[:-1]]
    count = 0
    for mine, its in zip(reversed(folders), reversed(above), strict=False):
        if mine != its:
            break
        count += 1
    return count


def _is_foreign(path: str) -> bool:
    """Tell whether a path starts at a drive, a server or a root that is not this machine's."""
    return bool(_URL.match(path) or _DRIVE.match(path)) or path.startswith(("/", "../"))


def _reason(path: str, several: list[str], folder: str) -> str:
    if len(several) > 1:
        shown = sorted(os.path.relpath(each, folder or ".") for each in several)
        return f"fits several files ({listed(shown, 3)}): give more of its path"
    if _URL.match(path):
        return "names a URL, of which no file lies below the table: download the images first"
    if _DRIVE.match(path):
        return (
            "names a path of another machine, of which no file lies below the table: give paths "
            "from the table's folder"
        )
    return "names a file that does not exist"
