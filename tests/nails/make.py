"""Write what the tests of the nails compare with: what the code of today promises and writes.

    python tests/nails/make.py --out DIR [PART ...]

The files under `data/` were made with it. To make them anew is to give up what they hold fast: do
so only for a change that is meant to break with it, and only the parts that it breaks with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # As pytest does: the helpers of the tests lie there.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nails import help_texts, public_names

DATA = Path(__file__).parent / "data"
SAME_WEIGHTS = Path(__file__).parents[2] / "benchmarks" / "same_weights.py"


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


def write_json(file: Path, data: Mapping[str, Any]) -> None:
    """One line for each name, so that a difference is seen in the lines that it concerns."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


PARTS = {"names": make_names, "help": make_help, "weights": make_weights}


def main() -> None:
    """Make the parts that were asked for; all of them where none was."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.parts or PARTS:
        PARTS[name](given.out)


if __name__ == "__main__":
    main()
