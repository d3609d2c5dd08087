"""Files that people ask for: when one may be written, and that it is whole or not there at all.

One rule for every output: a file that exists is replaced only with `overwrite` (`--overwrite`),
whoever wrote it. What a command reads is never replaced at all: see `data.inputs`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ktransfer.errors import InputError
from ktransfer.files.scratch import scratch


def check_new_file(
    path: str | os.PathLike[str],
    what: str,
    *,
    overwrite: bool = False,
    ending: str | Sequence[str] = (),
) -> Path:
    """Return the path of a file that may be written, checked before any work is done for it.

    Args:
        path: where it is to lie.
        what: what it is called in messages, such as `"the page"` or `"--csv"`.
        overwrite: whether it may take the place of a file that is there.
        ending: what its name must end in, in any case, or several of which it has one; empty:
            anything.

    Raises:
        InputError: it has another ending, exists (unless `overwrite`), is no file, or lies in a
            folder that does not exist or cannot be written to.
    """
    target = Path(os.fsdecode(path))
    named = f"{what} {str(target)!r}"
    if target.is_dir():
        raise InputError(f"{named} is a folder; name a file")
    endings = [ending] if isinstance(ending, str) else list(ending)
    if any(endings) and target.suffix.lower() not in endings:
        raise InputError(f"{named} must end in {' or '.join(endings)}")
    if not target.absolute().parent.is_dir():
        raise InputError(f"{named}: there is no folder {str(target.parent)!r}")
    check_free(target, named, overwrite=overwrite)
    if target.exists() and not target.is_file():
        raise InputError(f"{named} is no file that could be replaced; name another one")
    if not os.access(target.absolute().parent, os.W_OK):
        raise InputError(f"{named}: no permission to write to {str(target.parent)!r}")
    return target


def check_free(target: Path, named: str, *, overwrite: bool) -> None:
    """Raise an `InputError` if something lies there that may not be replaced."""
    if os.path.lexists(target) and not overwrite:
        raise InputError(
            f"{named} exists; name another file, or say overwrite=True (--overwrite) to replace it"
        )


def write_file(
    path: str | os.PathLike[str],
    what: str,
    write: Callable[[Path], object],
    *,
    overwrite: bool = False,
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: checked by `check_new_file`.
        what: as there.
        write: is called with the path to write to.
        overwrite: as there.

    Raises:
        InputError: it cannot be written, or is there by now.
    """
    try:
        with aside(Path(path), what, overwrite=overwrite) as partial:
            write(partial)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{what} {os.fspath(path)!r} cannot be written: {reason}") from error


@contextlib.contextmanager
def aside(target: Path, what: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a path to write to in a `with` block, after which the file takes its place.

    Nothing is left of it where the block ends by an error; after a kill, the next one that is
    written there removes what is left. A link is replaced, and not what it leads to.
    """
    with scratch(target.absolute().parent) as folder:
        partial = folder / target.name
        yield partial
        flush_to_disk(partial, *partial.rglob("*"))
        check_free(target, f"{what} {str(target)!r}", overwrite=overwrite)
        partial.replace(target)


@contextlib.contextmanager
def replacing(path: Path, *, kept_as: Path | None = None) -> Iterator[Path]:
    """Give a path for a file of ours in a `with` block, after which it takes its place.

    At every moment the file is either the old or the new one. Nothing is left of the new one where
    the block ends by an error of the system; after a kill `.NAME.partial` is, until it is written
    again.

    Args:
        path: of the file.
        kept_as: where the old one stays; None: nowhere.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        flush_to_disk(partial)
        if kept_as is not None and path.exists():
            path.replace(kept_as)
        partial.replace(path)
    except OSError:
        # Half a file would keep a full disk full.
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, contents: bytes) -> None:
    """Write a file of ours as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(contents)


def flush_to_disk(*paths: Path) -> None:
    """Return when these files, or lists of files of folders, would survive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
