"""Write what the tests of the nails compare with: what the code of today promises and writes.

    python tests/nails/make.py --out DIR [PART ...]

The files under `data/` were made with it. To make them anew is to give up what they hold fast: do
so only for a change that is meant to break with it, and only the parts that it breaks with.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # As pytest does: the helpers of the tests lie there.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from nails import help_texts, json_keys, public_names

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).parent / "data"
SAME_WEIGHTS = ROOT / "benchmarks" / "same_weights.py"


def make_names(out: Path) -> None:
    """What can be imported, and how it is called."""
    write_json(out / "names.json", public_names.names_by_module())
    write_json(out / "signatures.json", public_names.signatures())


def make_help(out: Path) -> None:
    """The texts of `--help` and the options of each command."""
    write_json(out / "options.json", help_texts.options())
    (out / "help").mkdir(exist_ok=True)
    for name, text in help_texts.help_texts().items():
        (out / "help" / f"{name}.txt").write_text(text)


def make_weights(out: Path) -> None:
    """What a seeded training in three stages ends with."""
    file = out / "three_stages.npz"
    subprocess.run([sys.executable, SAME_WEIGHTS, "--out", file], check=True)


def make_files(out: Path) -> None:
    """A run, a training that was killed, a search, an ONNX file and a cache, with what they say."""
    import numpy as np
    import same_weights
    from nails import files

    from ktransfer import OnnxClassifier

    # What is written says where its pictures lay: under a name that tells nothing of this machine.
    folder = Path(tempfile.gettempdir(), "nails")
    folder.mkdir()
    with contextlib.chdir(folder):
        pictures = same_weights.draw_pictures(Path("pictures"))
        os.environ["KTRANSFER_CACHE"] = "cache"
        files.train_head(pictures)
        shutil.copytree("cache", out / "cache")
        versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
        write_json(out / "versions.json", versions)
        run = files.saved_run(pictures, Path("run"))
        exported = run.export("classifier.onnx").path
        found = [run.predict(pictures), OnnxClassifier(exported).predict(pictures)]
        names = ("keras", "onnx")
        arrays = {name: each.probabilities for name, each in zip(names, found, strict=True)}
        np.savez(out / "probabilities.npz", **arrays)
        with contextlib.suppress(files.Killed):
            same_weights.train(pictures, out="killed", callbacks=[files.KillInSecondStage()])
        files.search_of(Path("search")).search(pictures)
        for name in ("run", "killed", "search"):
            shutil.copytree(name, out / name, ignore=shutil.ignore_patterns("*.log"))
        for file in Path().glob("classifier*"):
            shutil.copy(file, out)
    shutil.rmtree(folder)


def make_json_keys(out: Path) -> None:
    """The keys of what each command prints with `--json`, and the types of their values."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KTRANSFER_CACHE"] = os.path.join(folder, "cache")
        found = json_keys.quick(Path(folder)) | json_keys.slow(Path(folder))
    write_json(out / "json_keys.json", found)


def write_json(file: Path, data: Mapping[str, Any]) -> None:
    """One line for each name, so that a difference is seen in the lines that it concerns."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


PARTS = {
    "names": make_names,
    "help": make_help,
    "weights": make_weights,
    "files": make_files,
    "json_keys": make_json_keys,
}


def main() -> None:
    """Make the parts that were asked for; all of them where none was."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for name in given.parts or PARTS:
        PARTS[name](out)


if __name__ == "__main__":
    main()
