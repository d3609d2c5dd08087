"""What each command prints with `--json`: its keys, and the types of their values."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import tensorflow  # noqa: F401 - before click's runner replaces the standard streams
from click.testing import CliRunner

from ktransfer import cli
from ktransfer.demo import draw_demo_photos

MINI = ("--weights", "mini", "--input-size", "32")
#: A grid of two points.
FEW = (
    *("--max-unfreeze", "0", "--oracle", "grid", "--trials", "2", "--repeats", "0"),
    *("--values", "head_rate=0.002,0.02", "--values", "head_epochs=3"),
    *("--values", "dropout=0", "--values", "weight_decay=0", "--values", "features=last"),
)


def quick(folder: Path) -> dict[str, Any]:
    """The keys of the commands that take seconds.

    Args:
        folder: where they may write.
    """
    photos = draw_demo_photos(folder / "photos", share=0.1)
    # So that there is something to say of images that were left out.
    (photos / "train" / "rose" / "broken.jpg").write_bytes(b"no picture")
    (photos / "test" / "rose" / "broken.jpg").write_bytes(b"no picture")
    run, manifest = folder / "run", folder / "manifest.csv"
    return {
        "error": keys_of("train", folder / "nowhere", "--out", run),
        "doctor": keys_of("doctor", photos, "--out", manifest),
        "plan": keys_of("plan", photos, *MINI, "--depths"),
        "train": keys_of("train", photos, *MINI, "--out", run, "--epochs", 2),
        "train --resume": keys_of("train", "--resume", run),
        "evaluate": keys_of("evaluate", run, photos, "--corruptions"),
        "report": keys_of("report", run, "--out", folder / "report.html"),
        "predict": keys_of("predict", run, photos / "test"),
        "backbones": keys_of("backbones"),
        "cache": keys_of("cache"),
        "simulate": keys_of("simulate", "--out", folder / "simulator.html"),
        "explain": keys_of("explain", "--out", folder / "explained.html"),
    }


def slow(folder: Path) -> dict[str, Any]:
    """The keys of the commands that take longer.

    Args:
        folder: as of `quick`, after it.
    """
    photos, run = folder / "photos", folder / "run"
    compared = ("--data", photos, "--candidate", "MobileNetV2", "--weights", "mini")
    return {
        "export": keys_of("export", run, "--out", folder / "model.keras"),
        "look": keys_of("look", photos, "--out", folder / "page.png"),
        "tune": keys_of("tune", photos, *MINI, *FEW, "--out", folder / "search"),
        "export to ONNX": keys_of("export", run, "--out", folder / "model.onnx"),
        "backbones --data": keys_of("backbones", *compared),
        "demo": keys_of("demo"),
    }


def keys_of(*command: str | int | Path) -> Any:
    """The structure of the last line that a command prints."""
    words = [os.fspath(each) if isinstance(each, Path) else str(each) for each in command]
    result = CliRunner().invoke(cli.main, [*words, "--json"])
    return structure(json.loads(result.stdout.splitlines()[-1]))


def structure(value: Any) -> Any:
    """The type of plain data: of objects by key, of lists by their first element.

    Example:
        >>> structure({"a": [1, 2], "b": None, "c": []})
        {'a': ['number'], 'b': 'null', 'c': []}
    """
    if isinstance(value, dict):
        return {name: structure(each) for name, each in value.items()}
    if isinstance(value, list):
        return [structure(each) for each in value[:1]]
    if value is None:
        return "null"
    # Bool first: to Python it is a number.
    names = {bool: "boolean", int: "number", float: "number", str: "string"}
    return names[type(value)]
