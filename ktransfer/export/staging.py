"""Exports are made aside and moved into place in one step, or leave nothing behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ktransfer.errors import RunError
from ktransfer.files.scratch import REPLACED_NAME, scratch
from ktransfer.files.writing import flush_to_disk


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Make a folder on the file system of `target`; it is gone after the `with` block.

    Folders above `target` that are missing are made, and unmade where nothing came of them.

    Raises:
        RunError: the disk is full, or cannot be written to.
    """
    made = [each for each in target.absolute().parents if not each.exists()]
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        with scratch(target.absolute().parent) as folder:
            yield folder
    except OSError as error:
        raise RunError(
            f"the export could not be written to {target}: {error.strerror or error}; nothing of "
            "it is left"
        ) from error
    finally:
        for each in made:
            with contextlib.suppress(OSError):  # it holds what was exported
                each.rmdir()


def put_in_place(staging: Path, moves: dict[Path, Path], outdated: Sequence[Path] = ()) -> None:
    """Rename files or folders to where they belong; all of them, or none.

    Args:
        staging: of `staged`; what is replaced is moved there.
        moves: from where to where, in the folder that `staging` lies in or below it.
        outdated: files that go, and that nothing takes the place of.
    """
    # What a kill leaves here, the next export puts back.
    replaced, place = staging / REPLACED_NAME, staging.absolute().parent
    old = [*moves.values(), *outdated]
    kept = {target: replaced / target.absolute().relative_to(place) for target in old}
    begun: list[tuple[Path, Path]] = []
    try:
        for source, target in moves.items():
            flush_to_disk(source, *source.rglob("*"))
            begun.append((source, target))
            if os.path.lexists(target):
                _keep(target, kept[target])
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        for path in outdated:
            _keep(path, kept[path])
            path.unlink(missing_ok=True)
    except BaseException:
        for source, target in begun:
            if not source.exists():
                target.rename(source)
        for target, before in kept.items():
            if os.path.lexists(before):
                before.replace(target)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _keep(target: Path, old: Path) -> None:
    """Leave what is to be replaced under another name; a file stays where it is until then."""
    old.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file():
        with contextlib.suppress(OSError):  # a file system without links
            os.link(target, old)
            return
    target.rename(old)


def size_and_digest(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file.

    Of a folder all bytes, and the SHA-256 of lines as `sha256sum` writes them, by name, in order.
    """
    if path.is_file():
        with path.open("rb") as file:
            return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
    names = sorted(each.relative_to(path).as_posix() for each in path.rglob("*") if each.is_file())
    found = [size_and_digest(path / name) for name in names]
    lines = [f"{digest}  {name}\n" for (_, digest), name in zip(found, names, strict=True)]
    return sum(size for size, _ in found), hashlib.sha256("".join(lines).encode()).hexdigest()
