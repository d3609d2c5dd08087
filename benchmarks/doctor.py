"""What `ktransfer doctor` needs for 10,000 photos, and whether it finds what was planted in them.

    python benchmarks/doctor.py

10,000 pictures of 500 x 375 pixels are drawn (JPEG, about 60 kB each, in train/ and val/ of 5
classes), and faults are planted by seed: files cut short, web pages named .jpg, copies of the same
bytes, copies resized, encoded anew, brightened and cropped, copies in another part and under
another label. `ktransfer doctor --json` looks at them in a process of its own; its wall time and
the memory of all its processes together (resident, sampled 10 times a second) are noted, and what
it found is compared with what was planted.

Then sets in which every image looks like many others (`look_alikes.py`): 300 spectrograms under the
same axes, line drawings, tiles of one surface and slices of volumes, and 300 each of the real sets
in the shared folder; in each 60 copies are hidden, changed in the four ways.
How many of them are found, and which other groups are called copies, is noted by set. It takes
about 6 minutes on 2 CPU cores and writes benchmarks/results/doctor.md and .json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from look_alikes import CHANGES, LOOK_ALIKES, write_with_copies
from PIL import Image
from reporting import results_folder, shared_folder, table, write_results

CLASSES = ("birch", "fir", "lime", "oak", "yew")
SIZE = (500, 375)
KINDS = ("unreadable", "duplicate", "near_duplicate", "leak", "conflicting_labels")

#: How many of each fault are planted in 10,000 images.
PLANTED = {
    "cut": 40,
    "web page": 20,
    "same bytes": 60,
    "resized": 60,
    "encoded": 60,
    "brightened": 60,
    "cropped": 60,
    "leak": 60,
    "near leak": 60,
    "label": 40,
}

REAL_SETS = ("steel_defects", "chest_xray", "ants_bees", "flowers")
_LOOK_ALIKES = (
    "Sets in which images look alike, with copies hidden in them, a pair each: how many pairs were "
    "found as they are, how many other groups were called copies, how many findings on copies were "
    "errors, and seconds to compare.\n\n"
)

_Groups = dict[str, set[tuple[str, ...]]]


def picture(seed: int) -> Image.Image:
    """Coloured blobs with noise; two seeds have nothing in common."""
    random = np.random.default_rng(seed)
    blobs = random.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    large = Image.fromarray(blobs).resize(SIZE, Image.Resampling.BICUBIC)
    noise = random.normal(0, 5, (125, 125, 1)).astype(np.float32)
    pixels = np.asarray(large, np.float32) * 0.8 + 25 + np.tile(noise, (3, 4, 1))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def draw(job: tuple[str, int]) -> None:
    """Draw one picture into a file."""
    path, seed = job
    picture(seed).save(path, quality=90)


def draw_all(root: Path, count: int) -> list[Path]:
    """Draw four in five into train, the rest into val."""
    paths = [
        root / ("val" if number % 5 == 4 else "train") / CLASSES[number // 5 % 5] / f"{number}.jpg"
        for number in range(count)
    ]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, [(str(path), at) for at, path in enumerate(paths)], chunksize=50))
    return paths


def plant(paths: list[Path], share: float) -> _Groups:
    """Plant faults among the training pictures, each on one of its own.

    Returns:
        The groups of paths to be found, by kind.
    """
    planted: _Groups = {kind: set() for kind in KINDS}
    train = [path for path in paths if path.parts[-3] == "train"]
    chosen = iter(np.random.default_rng(0).permutation(len(train)).tolist())
    for fault, count in PLANTED.items():
        for _ in range(max(1, round(count * share))):
            _plant(fault, train[next(chosen)], planted)
    return planted


def _plant(fault: str, path: Path, planted: _Groups) -> None:
    content = path.read_bytes()
    if fault in ("cut", "web page"):
        path.write_bytes(content[: len(content) // 2] if fault == "cut" else b"<html>gone</html>")
        planted["unreadable"].add((str(path),))
        return
    other = CLASSES[(CLASSES.index(path.parent.name) + 1) % len(CLASSES)]
    home = {
        "leak": path.parents[2] / "val" / path.parent.name,
        "near leak": path.parents[2] / "val" / path.parent.name,
        "label": path.parents[1] / other,
    }.get(fault, path.parent)
    copy = home / f"{path.stem}-copy.jpg"
    change = CHANGES.get("resized" if fault == "near leak" else fault)
    copy.write_bytes(content)
    if change:
        with Image.open(path) as image:
            copy.write_bytes(change(image))
    group = tuple(sorted((str(path), str(copy))))
    planted["near_duplicate" if change else "duplicate"].add(group)
    if "leak" in fault:
        planted["leak"].add(group)
    if fault == "label":
        planted["conflicting_labels"].add(group)


def examined(root: Path) -> tuple[dict[str, Any], float, float]:
    """Say what the command says, its wall time in seconds, and the most memory it had, in MB."""
    command = [sys.executable, "-m", "ktransfer", "doctor", str(root), "--json"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        peak, ended = [0.0], threading.Event()

        def sample() -> None:
            while not ended.wait(0.1):
                peak[0] = max(peak[0], _memory_mb(process.pid))

        sampler = threading.Thread(target=sample)
        sampler.start()
        said, _ = process.communicate()
        seconds = time.perf_counter() - started
        ended.set()
        sampler.join()
    return json.loads(said.splitlines()[-1]), seconds, peak[0]


def _memory_mb(pid: int) -> float:
    """Resident memory of a process and of those that it started."""
    family, total = [pid], 0.0
    while family:
        each = family.pop()
        try:
            tasks = Path(f"/proc/{each}/task").iterdir()
            family += [
                int(kid) for task in tasks for kid in (task / "children").read_text().split()
            ]
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        except OSError:  # ended meanwhile
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def compared(report: dict[str, Any], planted: _Groups) -> dict[str, dict[str, int]]:
    """By kind, how many faults were planted, found, and said without being there."""
    rows = {}
    for kind in KINDS:
        groups = [
            tuple(sorted(group))
            for finding in report["findings"]
            if finding["kind"] == kind
            for group in finding["paths"]
        ]
        found = planted[kind] & set(groups)
        rows[kind] = {
            "planted": len(planted[kind]),
            "found": len(found),
            "invented": len(groups) - len(found),
        }
    return rows


def look_alike_sets(count: int, data: Path | None) -> Iterator[tuple[str, list[Image.Image]]]:
    """Set by name, of at most `count` images each: those drawn, and the real ones in a folder."""
    for name, draw_set in LOOK_ALIKES.items():
        yield name, list(draw_set(count, 1))
    for folder in [data / name for name in REAL_SETS] if data else ():
        paths = sorted(folder.rglob("*.jp*g"))
        chosen = paths[:: max(1, len(paths) // count)][:count]
        yield folder.name, [Image.open(path).convert("RGB") for path in chosen]


def judged_set(images: list[Image.Image], copies: int) -> dict[str, int | float]:
    """How many hidden copies are found in a set, and how many other groups are called copies."""
    with tempfile.TemporaryDirectory(prefix="ktransfer-look-alikes-") as folder:
        planted = write_with_copies(images, Path(folder), copies)
        report, *_ = examined(Path(folder))
    groups = [
        set(group)
        for finding in report["findings"]
        if finding["kind"] == "near_duplicate"
        for group in finding["paths"]
    ]
    found = dict.fromkeys(CHANGES, 0)
    for change, *pair in planted:
        found[change] += set(pair) in groups
    errors = sum(
        finding["severity"] == "error" and finding["kind"] in KINDS
        for finding in report["findings"]
    )
    return {
        "images": len(images),
        "hidden": len(planted),
        "found": sum(found.values()),
        **found,
        "others": len(groups) - sum(found.values()),
        "errors": errors,
        "compare_s": report["seconds"]["compare"],
    }


def main() -> None:
    """Measure and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--smoke", action="store_true", help="200 images, to see that it runs")
    options = parser.parse_args()
    count = 200 if options.smoke else 10_000
    with tempfile.TemporaryDirectory(prefix="ktransfer-doctor-") as folder:
        root = Path(folder)
        planted = plant(draw_all(root, count), count / 10_000)
        files = [path for path in root.rglob("*") if path.is_file()]
        size_mb = sum(path.stat().st_size for path in files) / 2**20
        report, seconds, peak_mb = examined(root)
    rows = compared(report, planted)
    data_folder = None if options.smoke else shared_folder() / "data"
    sets = {
        name: judged_set(images, 1 if options.smoke else 15)
        for name, images in look_alike_sets(20 if options.smoke else 300, data_folder)
    }
    data = {
        "files": len(files),
        "size_mb": size_mb,
        "seconds": seconds,
        "phases": report["seconds"],
        "peak_mb": peak_mb,
        "kinds": rows,
        "look_alikes": sets,
        "other_findings": [
            each["kind"] for each in report["findings"] if each["kind"] not in KINDS
        ],
    }
    phases = ", ".join(f"{name} {value:.1f}" for name, value in report["seconds"].items())
    body = (
        f"{len(files):,} files, {size_mb:,.0f} MB: {seconds:.1f} s of wall time ({phases}), "
        f"{len(files) / seconds:,.0f} a second; "
        f"at most {peak_mb:,.0f} MB of memory in all its "
        f"processes together.\n\n"
        + table(
            ["kind", "planted", "found", "invented"],
            [[kind, *(str(value) for value in row.values())] for kind, row in rows.items()],
        )
        + f"\n\nOther kinds that were reported: {', '.join(data['other_findings']) or 'none'}.\n\n"
        + _LOOK_ALIKES
        + table(
            ["set", *(name.replace("_", " ") for name in next(iter(sets.values())))],
            [[name, *(f"{value:g}" for value in row.values())] for name, row in sets.items()],
        )
    )
    write_results(results_folder(options.out, smoke=options.smoke), "doctor", body, data)


if __name__ == "__main__":
    main()
