"""The runs of a folder side by side: what each was made of, and how good it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ktransfer.errors import InputError, RunError
from ktransfer.runs.record import RECORD_NAME, read_record
from ktransfer.runs.unfinished import is_unfinished
from ktransfer.show.results import PrintedLines
from ktransfer.show.tables import aligned

#: How far below the folder runs are looked for: `runs/ants/first`.
_MOST_DEEP = 3


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes:
        path: its folder.
        name: the same from the folder that was asked for on.
        backbone: what it was made of; empty where that cannot be read.
        plan: the name of the plan that was carried out.
        val_accuracy: on its validation images, in [0, 1]; None where it has no result.
        val_interval: 95 % interval.
        test_accuracy: on the test part; None where there was none.
        num_images: training images.
        data_sha256: of the images that it learnt from: accuracies of other images compare badly.
        seconds: that the training took.
        state: empty, `"unfinished"`, or why it cannot be read.
    """

    path: str
    name: str
    backbone: str = ""
    plan: str = ""
    val_accuracy: float | None = None
    val_interval: tuple[float, float] | None = None
    test_accuracy: float | None = None
    num_images: int | None = None
    data_sha256: str | None = None
    seconds: float | None = None
    state: str = ""


@dataclass(frozen=True)
class RunTable(PrintedLines):
    """Runs side by side, the most accurate first; print it for a table.

    Attributes:
        rows: one for each run.
        notes: what to mind in comparing them.
    """

    rows: tuple[RunRow, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        head = ["run", "validation", "95 % interval", "test", "images", "backbone", "plan"]
        whole = [each for each in self.rows if not each.state]
        lines = aligned([head, *map(_cells, whole)], left=(0, 5, 6), ruled=True) if whole else []
        lines += [f"{each.name}: {each.state}" for each in self.rows if each.state]
        return "\n".join([*lines, *self.notes])

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain data, ready for JSON."""
        return {"runs": [asdict(each) for each in self.rows], "notes": list(self.notes)}


def compare_runs(folder: str | os.PathLike[str]) -> RunTable:
    """Compare the runs in a folder and up to three folders deep, without loading a model.

    Raises:
        InputError: it is no folder, or there is no run in it.
    """
    if not os.path.isdir(folder):
        raise InputError(f"no such folder: {os.fspath(folder)!r}")
    root = Path(folder)
    rows = [_row(each, os.path.relpath(each, root)) for each in _runs(root, _MOST_DEEP)]
    if not rows:
        raise InputError(
            f"there is no run in {os.fspath(folder)!r}: `ktransfer train DATA --out "
            f"{os.path.join(os.fspath(folder), 'NAME')}` makes one"
        )
    # Of equal ones the cheaper; what has no result last.
    rows.sort(key=lambda each: (-(each.val_accuracy or -1.0), each.seconds or 0.0, each.path))
    data = {each.data_sha256 for each in rows if each.val_accuracy is not None}
    notes = ("They learnt from other images each: accuracies on other images compare badly.",)
    return RunTable(tuple(rows), notes if len(data) > 1 else ())


def _runs(folder: Path, deep: int) -> Iterator[Path]:
    if os.path.lexists(folder / RECORD_NAME) or is_unfinished(folder):
        yield folder
    elif deep:
        try:
            entries = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError:
            return
        for each in entries:
            if each.is_dir(follow_symlinks=False) and not each.name.startswith("."):
                yield from _runs(folder / each.name, deep - 1)


def _row(folder: Path, name: str) -> RunRow:
    if is_unfinished(folder):
        return RunRow(str(folder), name, state="unfinished: --resume goes on with it")
    try:
        record = read_record(folder)
        return _of_result(str(folder), name, record, record["result"] or {})
    except RunError as error:
        return RunRow(str(folder), name, state=str(error))
    # What a record says of its result is not checked before somebody reads it.
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return RunRow(str(folder), name, state=f"damaged: {type(error).__name__}: {error}")


def _of_result(
    path: str, name: str, record: Mapping[str, Any], result: Mapping[str, Any]
) -> RunRow:
    interval = result.get("val_interval")
    accuracies = [result.get(name) for name in ("val_accuracy", "test_accuracy")]
    validation, test = (None if each is None else float(each) for each in accuracies)
    return RunRow(
        path,
        name,
        str(record["backbone"]["name"]),
        str(result.get("carried_out", "")),
        validation,
        (float(interval[0]), float(interval[1])) if interval else None,
        test,
        int(result["part_sizes"]["train"]) if result else None,
        record["data"].get("contents"),
        sum(map(float, result["seconds"].values())) if result else None,
    )


def _cells(row: RunRow) -> list[str]:
    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    interval = row.val_interval
    return [
        row.name,
        share(row.val_accuracy),
        "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}",
        share(row.test_accuracy),
        "-" if row.num_images is None else f"{row.num_images:,}",
        row.backbone,
        row.plan,
    ]
