"""What `ktransfer doctor` needs for 10,000 photos, and whether it finds what was planted in them.

    python benchmarks/doctor.py

10,000 pictures of 500 x 375 pixels are drawn (JPEG, about 60 kB each, in train/ and val/ of 5
classes), and faults are planted by seed: files cut short, web pages named .jpg, copies of the same
bytes, copies resized, encoded anew, brightened and cropped, copies in another part and under
another label. `ktransfer doctor --json` looks at them in a process of its own; its wall time and
the memory of all its processes together (resident, sampled 10 times a second) are noted, and what
it found is compared with what was planted. It takes about 4 minutes on 2 CPU cores and writes
benchmarks/results/doctor.md and .json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from reporting import results_folder, table, write_results

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
    """Draws one picture into a file."""
    path, seed = job
    picture(seed).save(path, quality=90)


def draw_all(root: Path, count: int) -> list[Path]:
    """Draws four in five into train, the rest into val."""
    paths = [
        root / ("val" if number % 5 == 4 else "train") / CLASSES[number // 5 % 5] / f"{number}.jpg"
        for number in range(count)
    ]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(draw, [(str(path), at) for at, path in enumerate(paths)], chunksize=50))
    return paths


def _jpeg(image: Image.Image, quality: int = 80) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 33, height // 33, width * 32 // 33, height * 32 // 33))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "resized": lambda image: _jpeg(image.resize((image.width // 2, image.height // 2))),
    "encoded": lambda image: _jpeg(image, 40),
    "brightened": lambda image: _jpeg(ImageEnhance.Brightness(image).enhance(1.2)),
    "cropped": lambda image: _jpeg(_cropped(image)),
}


def plant(paths: list[Path], share: float) -> _Groups:
    """Plants faults among the training pictures, each on one of its own.

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
    """What the command says, its wall time in seconds, and the most memory it had, in MB."""
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


def main() -> None:
    """Measures and reports."""
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
    data = {
        "files": len(files),
        "size_mb": size_mb,
        "seconds": seconds,
        "phases": report["seconds"],
        "peak_mb": peak_mb,
        "kinds": rows,
        "other_findings": [
            each["kind"] for each in report["findings"] if each["kind"] not in KINDS
        ],
    }
    phases = ", ".join(f"{name} {value:.1f}" for name, value in report["seconds"].items())
    body = (
        f"{len(files):,} files, {size_mb:,.0f} MB: {seconds:.1f} s of wall time ({phases}), "
        f"{len(files) / seconds:,.0f} a second; at most {peak_mb:,.0f} MB of memory in all its "
        f"processes together.\n\n"
        + table(
            ["kind", "planted", "found", "invented"],
            [[kind, *(str(value) for value in row.values())] for kind, row in rows.items()],
        )
        + f"\n\nOther kinds that were reported: {', '.join(data['other_findings']) or 'none'}."
    )
    write_results(results_folder(options.out, smoke=options.smoke), "doctor", body, data)


if __name__ == "__main__":
    main()
