"""Load thousands of damaged ONNX files: errors of one kind, no crash, no hang.

    python tests/fuzz/onnx_files.py --cases 10000

Even cases damage a file with a seal, as an export is: each must be refused. Odd ones damage a file
without a seal, which may still be a network. Each case comes from its number alone. They run in
processes of 500: one that dies or hangs is a fault. The exit status is 1 if there was any.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent)]

import numpy as np  # noqa: E402
import served_models  # noqa: E402

from ktransfer import OnnxClassifier, RunError  # noqa: E402
from ktransfer.files.seal import seal  # noqa: E402

CHUNK, LIMIT_S = 500, 300


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The bytes with one to twenty changes: set, flipped, cut, put in, torn off."""
    changed = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 5, 20))):
        at, kind = dice.randrange(len(changed) or 1), dice.randrange(20)
        if not changed:
            break
        if kind < 10:
            changed[at] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        elif kind < 14:
            changed[at] ^= 1 << dice.randrange(8)
        elif kind < 17:
            del changed[at : at + dice.randrange(1, 9)]
        elif kind < 19:
            changed[at:at] = dice.randbytes(dice.randrange(1, 9))
        else:
            del changed[max(1, at) :]
    return bytes(changed)


def outcome(number: int, file: Path, contents: tuple[bytes, bytes]) -> str:
    """What comes of a case; a fault begins with "FAULT"."""
    whole = contents[number % 2]
    file.write_bytes(content := damaged(whole, random.Random(number)))
    if content == whole:
        return "not damaged"
    try:
        classifier = OnnxClassifier(file, num_threads=1)
        found = classifier.predict(np.zeros((1, 4, 4, 3), np.uint8)).probabilities
    except RunError:
        return "refused"
    except BaseException as error:
        return f"FAULT in case {number}: {type(error).__name__}: {error}"
    if number % 2 == 0:
        return f"FAULT in case {number}: damage was not found"
    return "still a network" if np.isfinite(found).all() else f"FAULT in case {number}: NaN"


def work(first: int, last: int) -> None:
    """Does the cases, and prints a line for each."""
    described = served_models.describe(sealed=True)
    sealed = seal(served_models.build(described).SerializeToString())
    contents = sealed, served_models.build().SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, last):
            print(outcome(number, Path(folder, "case.onnx"), contents), flush=True)


def main() -> int:
    """Runs the cases in processes, and counts what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    last = args.first + args.cases
    if args.worker:
        work(args.first, last)
        return 0
    counts: Counter[str] = Counter()
    for first in range(args.first, last, CHUNK):
        cases = min(CHUNK, last - first)
        command = [sys.executable, __file__, "--worker", "--first", str(first)]
        with tempfile.TemporaryFile("w+") as said:
            try:
                code = subprocess.run(
                    [*command, "--cases", str(cases)], stdout=said, timeout=LIMIT_S
                ).returncode
            except subprocess.TimeoutExpired:
                code = -1
            said.seek(0)
            lines = said.read().splitlines()
        counts.update(lines)
        if code or len(lines) < cases:
            counts[f"FAULT in case {first + len(lines)}: the process ended with {code}"] += 1
    for words, count in sorted(counts.items()):
        print(f"{count:>6}  {words}")
    return int(any(words.startswith("FAULT") for words in counts))


if __name__ == "__main__":
    sys.exit(main())
