"""Which column of a table is the path, which the label, and which the part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ktransfer.data.images.header import EXTENSIONS
from ktransfer.data.parts import listed
from ktransfer.data.reading.part_names import PART_NAMES, part_of
from ktransfer.errors import InputError, near_names

# Most wanted first; a row of names that would do equally well. Without blanks and underscores.
_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "path": (
        ("path",),
        ("filepath", "imagepath", "imgpath", "relativepath", "fullpath", "abspath"),
        ("filename", "imagename", "imgname", "imagefile", "imagefilename", "fname", "file"),
        ("image", "img", "photo", "picture"),
        ("imageid", "imgid", "fileid", "photoid", "imageindex", "imageurl", "url", "uri"),
        ("id", "uuid"),
        ("name",),
    ),
    "label": (
        ("label",),
        ("labelname", "classname", "categoryname", "classlabel"),
        (
            *("class", "target", "category", "species", "classe", "choice", "breed"),
            *("groundtruth", "gt", "diagnosis", "dx", "variety", "subspecies", "finding"),
            "findinglabel",
        ),
        ("labelid", "classid", "categoryid", "targetid", "labelidx", "classidx"),
    ),
    "split": (
        ("split",),
        (
            *("dataset", "subset", "part", "partition", "set", "fold", "phase", "usage", "purpose"),
            *("splitname", "splittype", "datasplit", "datatype", "settype", "traintest"),
            *("trainvaltest", "traintestsplit"),
        ),
    ),
}
# Columns of truth values: what a true and what a false one say.
_FLAGS = {
    "isvalid": ("validation", "train"),
    "isval": ("validation", "train"),
    "isvalidation": ("validation", "train"),
    "istest": ("test", "train"),
    "istrain": ("train", "validation"),
    "istraining": ("train", "validation"),
}
_TRUE = {"true", "1", "1.0", "yes", "t", "y"}
_FALSE = {"false", "0", "0.0", "no", "f", "n"}
# Of FER2013 "pixels"; of MNIST as CSV "pixel0", ... or "1x1", ...
_PIXELS = re.compile(r"pixels?\d*|px\d+|\d+x\d+")
_EXTENSIONS = "|".join(each for several in EXTENSIONS.values() for each in several)
_FILE = re.compile(rf"\.({_EXTENSIONS})(\s|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Where in a row the path, the label and the part are.

    Attributes:
        path: position of the path.
        label: position of the label; None where it is not read.
        split: position of the part; None where there is none.
        flag: what a true and a false value of `split` say, where these are its values.
        one_hot: positions of columns that hold a 1 for the class that they are named by, instead of
            a label; by the class's name.
        width: how many cells a row has.
        notes: which column was taken, where it is called otherwise.
    """

    path: int
    label: int | None
    split: int | None
    flag: tuple[str, str] | None
    one_hot: dict[str, int]
    width: int
    notes: tuple[str, ...]

    @property
    def no_label(self) -> str:
        """What is wrong with a row that has none."""
        if self.one_hot:
            return "has not one 1, but none or several, in the columns of the classes"
        return "has no label"

    def label_of(self, cells: Sequence[str]) -> str | None:
        """Return the label of a row; "" where it has none, None where it is not read."""
        if self.one_hot:
            hot = [name for name, at in self.one_hot.items() if _cell(cells, at) in ("1", "1.0")]
            return hot[0] if len(hot) == 1 else ""
        return None if self.label is None else _cell(cells, self.label)

    def split_of(self, cells: Sequence[str]) -> str | None:
        """Say what the column of the part says, in words for one; None where there is none."""
        if self.split is None:
            return None
        text = _cell(cells, self.split)
        if self.flag is None:
            return text
        truth = text.strip().casefold()
        return self.flag[0] if truth in _TRUE else self.flag[1] if truth in _FALSE else text

    @property
    def known_splits(self) -> str:
        """What the column of the part may say, for a message."""
        return "True or False" if self.flag else f"one of {listed(sorted(PART_NAMES), 20)}"

    def path_of(self, cells: Sequence[str]) -> str:
        """Return the path as it stands there."""
        return _cell(cells, self.path)

    def surplus(self, cells: Sequence[str]) -> bool:
        """Tell whether a row has more cells than the header; empty ones at its end do not count."""
        return any(each.strip() for each in cells[self.width :])


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at] if at < len(cells) else ""


def find_columns(
    where: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, labelled: bool
) -> Columns:
    """Return the columns by the names that people give them.

    Args:
        where: the table, for messages.
        header: the names of the columns.
        rows: some rows, to tell columns of 0 and 1.
        labelled: whether there must be labels; without them neither label nor part is read.

    Raises:
        InputError: a column is missing, two would do, or there is no header.
    """
    if not any(header):
        raise InputError(
            f"{where} is empty: expected a header with the columns path, label[, split]"
        )
    keys = [_key(each) for each in header]
    found = {role: _position(where, role, header, keys) for role in _NAMES}
    _check_no_pixels(where, header, keys, found["path"])
    if found["path"] is None:
        _check_no_title(where, header, rows)
    if found["path"] is None:
        raise _missing(where, "path", header, found)
    one_hot, flag = {}, None
    if not labelled:
        found["label"] = found["split"] = None
    else:
        found["split"], flag = _split(header, keys, rows, found)
        if found["label"] is None:
            one_hot = _one_hot(header, rows, [at for at in found.values() if at is not None])
        if found["label"] is None and not one_hot:
            raise _missing(where, "label", header, found)
    notes = [
        f"the column {header[at]!r} of {where} is read as {role}"
        for role, at in found.items()
        if at is not None and keys[at] != role
    ]
    if one_hot:
        notes.append(f"each of the columns {listed(list(one_hot))} of {where} is read as a class")
    return Columns(
        found["path"], found["label"], found["split"], flag, one_hot, len(header), tuple(notes)
    )


def roles_named(header: Sequence[str]) -> set[str]:
    """Say which of path, label and split names of columns stand for, if they are such at all."""
    keys = {form for each in header for form in _forms(_key(each))}
    return {role for role, rows in _NAMES.items() if keys & {name for row in rows for name in row}}


def _key(name: str) -> str:
    """Return a name without blanks and underscores; it may end in the s of a plural."""
    return re.sub(r"[\W_]+", "", name.casefold())


def _fitting(role: str, keys: Sequence[str]) -> list[int]:
    """Return all columns that may have the role, the likeliest first."""
    return [at for names in _NAMES[role] for at in _named(names, keys)]


def _named(names: Sequence[str], keys: Sequence[str]) -> list[int]:
    return [at for at, key in enumerate(keys) if _forms(key) & set(names)]


def _forms(key: str) -> set[str]:
    return {key, key.removesuffix("s")}


def _position(where: str, role: str, header: Sequence[str], keys: Sequence[str]) -> int | None:
    """Say which column has the role; of names that would do equally well there may be one."""
    for names in _NAMES[role]:
        fitting = _named(names, keys)
        # An image's id beside its file, or many columns of parts: the first is as good as any.
        if len(fitting) > 1 and role == "label":
            both = listed([header[at] for at in fitting])
            raise InputError(
                f"{where} has the columns {both}, and each of them may be the label: rename the "
                "one that is meant to 'label'"
            )
        if fitting:
            return fitting[0]
    return None


def _split(
    header: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Sequence[str]],
    found: dict[str, int | None],
) -> tuple[int | None, tuple[str, str] | None]:
    """Return the column of parts, or one of truth values; a column of numbers is none."""
    if found["split"] is not None and keys[found["split"]] == "split":
        return found["split"], None
    for at in _fitting("split", keys):
        # `fold` with 0 to 4, or `set` with a name of its own, says nothing of parts.
        if any(part_of(_cell(row, at)) for row in rows):
            return at, None
    for at, key in enumerate(keys):
        if key in _FLAGS:
            return at, _FLAGS[key]
    return None, None


def _one_hot(
    header: Sequence[str], rows: Sequence[Sequence[str]], taken: Sequence[int]
) -> dict[str, int]:
    """Return the columns of 0 and 1 that are not taken, if there are several."""
    found = {}
    for at, name in enumerate(header):
        values = {_cell(row, at).strip() for row in rows}
        named = name and not _is_index(name.casefold())
        if at not in taken and named and values and values <= {"0", "1", "0.0", "1.0"}:
            found[name] = at
    return found if len(found) > 1 else {}


def _missing(
    where: str, role: str, header: Sequence[str], found: dict[str, int | None]
) -> InputError:
    """Return the error for a column that is not there."""
    line = ",".join(header)
    if any(map(_FILE.search, header)):
        blanks = ", and put commas in place of the blanks" if len(header) == 1 else ""
        return InputError(
            f"{where} has no header: its first line is {line!r}; write a line path,label[,split] "
            f"above it{blanks if ' ' in line.strip() else ''}"
        )
    if len(header) == 1 and {"path", "label"} <= roles_named(re.split(r"[,;\t|]", line)):
        raise InputError(f"{where} has one column, {line!r}: take away the quotes around its lines")
    known = any(at is not None for at in found.values())
    above = "" if known else f"; or write such a line above {line!r}, if this is no header"
    names = [each.casefold() for each in header]
    taken = set(found.values())
    untaken = [name for at, name in enumerate(names) if name and at not in taken]
    free = [name for name in untaken if not _is_index(name)]
    near = near_names(role, free, count=1)
    hint = f"; rename {near[0]!r}?" if near and (len(free) == 1 or _is_near(role, near[0])) else ""
    return InputError(
        f"{where} has no column {role!r}: it has {listed(names)}, expected path, label[, split]"
        f"{hint}{above}"
    )


def _check_no_title(where: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise an `InputError` if one of the first rows is the header, and there is text above it."""
    for row in rows[:9]:
        if {"path", "label"} <= roles_named(row):
            raise InputError(
                f"{where} begins with {','.join(header)!r}, and its header seems to be "
                f"{','.join(row)!r} below: remove what stands above it, or put a # before each line"
            )


def _check_no_pixels(
    where: str, header: Sequence[str], keys: Sequence[str], path: int | None
) -> None:
    """Raise an `InputError` if a table is no list of files, but holds the images themselves."""
    pixels = [name for name, key in zip(header, keys, strict=True) if _PIXELS.fullmatch(key)]
    numbered = path is not None and keys[path] in ("id", "uuid", "name") and len(pixels) > 15
    if not pixels or not (path is None or numbered):
        return
    first, last = pixels[0], pixels[-1]
    if len(pixels) == 1:
        has = f"the column {first!r}, which holds"
        images = f"numpy.stack([numpy.array(each.split(), 'uint8') for each in frame[{first!r}]])"
    else:
        has = f"{len(pixels):,} columns of pixels, {first!r} to {last!r}, which hold"
        images = f"frame.loc[:, {first!r}:{last!r}].to_numpy('uint8')"
    raise InputError(
        f"{where} has {has} the images themselves, and no paths of files: read it with pandas and "
        f"give arrays, (images, labels), where images = {images}.reshape(-1, HEIGHT, WIDTH); or "
        "save them for the command line: numpy.savez('images.npz', images=images, labels=labels)"
    )


def _is_near(role: str, name: str) -> bool:
    return bool(set(re.findall(r"[^\W_]{3,}", name)) & {role}) or name[:3] == role[:3]


def _is_index(name: str) -> bool:
    return name.startswith("unnamed:") or name == "index"
