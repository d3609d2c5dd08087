"""A folder of a million photos is listed and streamed in bounded memory.

    python benchmarks/listing.py [--images 1000000] [--classes 100]

Makes a folder of so many hard links to 256 small pictures, in class folders, and measures, each in
a process of its own: `read_folder` with its look at every header, the split and the search for
equal files; and one pass of `image_dataset` over all of them. Own memory is RssAnon of
/proc/self/status, beyond what it is after the imports. The names are in the system's cache, as the
folder was just made; the links share their bytes, so that what reading from a disk takes is not
measured. Needs about 4 minutes and 100 MB of disk for directories.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from reporting import (
    in_own_process,
    own_memory_mb,
    peak_memory,
    results_folder,
    table,
    write_results,
)

# A file of ext4 can have 65,000 names.
PICTURES = 256


def make_folder(folder: Path, num_images: int, num_classes: int) -> None:
    """Return class folders of hard links to a few pictures of 32 x 24 pixels."""
    store = folder / ".store"
    store.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        pixels = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(store / f"{number}.jpg")
    for label in range(num_classes):
        (folder / f"class_{label:04}").mkdir()
    for number in range(num_images):
        name = f"class_{number % num_classes:04}/IMG_{number:08}.jpg"
        os.link(store / f"{number % PICTURES}.jpg", folder / name)


def listed(folder: str) -> dict[str, Any]:
    """Time and memory of `read_folder`."""
    from ktransfer.data import read_folder

    before, started = own_memory_mb(), time.perf_counter()
    with peak_memory() as samples:
        splits = read_folder(folder)
    seconds = time.perf_counter() - started
    return {
        "images": sum(map(len, splits.parts)),
        "seconds": seconds,
        "memory_before_mb": before,
        "peak_memory_mb": max(samples),
        "kept_memory_mb": own_memory_mb(),
        "notes": list(splits.notes),
    }


def streamed(folder: str) -> dict[str, Any]:
    """Time and memory of one pass over the training part, after it was listed."""
    from ktransfer.data import image_dataset, read_folder

    part = read_folder(folder).train
    for _ in image_dataset(part.select(range(2_000)), (16, 16), batch_size=256):
        pass  # the threads and buffers of tf.data, which do not grow with the folder
    before, started, images = own_memory_mb(), time.perf_counter(), 0
    with peak_memory() as samples:
        for batch, _ in image_dataset(part, (16, 16), batch_size=256):
            images += len(batch)
    return {
        "images": images,
        "seconds": time.perf_counter() - started,
        "memory_before_mb": before,
        "peak_memory_mb": max(samples),
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", choices=("listed", "streamed"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(
            json.dumps(
                {"listed": listed, "streamed": streamed}[arguments.measure](arguments.folder)
            )
        )
        return
    count = 5_000 if arguments.smoke else arguments.images
    figures = {}
    with tempfile.TemporaryDirectory(prefix="ktransfer-listing-") as folder:
        make_folder(Path(folder) / "photos", count, arguments.classes)
        for measure in ("listed", "streamed"):
            options = ("--measure", measure, "--folder", Path(folder) / "photos")
            figures[measure], _ = in_own_process(__file__, *options)
    rows = [
        [
            name,
            f"{each['images']:,}",
            f"{each['seconds']:.1f}",
            f"{each['peak_memory_mb'] - each['memory_before_mb']:,.0f}",
        ]
        for name, each in figures.items()
    ]
    header = ["", "images", "seconds", "peak memory beyond the imports, MB"]
    kept = figures["listed"]["kept_memory_mb"] - figures["listed"]["memory_before_mb"]
    body = (
        f"{table(header, rows)}\n\nOf {count:,} files in {arguments.classes} class folders "
        f"{kept:,.0f} MB are kept after the listing. The second line is beyond what the process "
        "had when the pass began, with the listing and TensorFlow in it.\n"
    )
    write_results(results_folder(arguments.out, smoke=arguments.smoke), "listing", body, figures)


if __name__ == "__main__":
    main()
