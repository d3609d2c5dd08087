"""The torch side of `pipeline.py`: a DataLoader with Pillow, in an interpreter that has torch.

It reads one line of JSON with the work (`paths`, `size`, `batch`), then one with a configuration
(`workers`) for each pass that is asked for, and answers each with the pass's figures.
Loaders and their workers are kept between passes, as in a training of several epochs; the first
pass of each is a warm-up that counts for nothing.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset


class Photos(Dataset):
    """Files as uint8 tensors `(height, width, 3)`: the centre, resized bilinearly.

    Args:
        paths: the files.
        size: `(height, width)` in pixels.
    """

    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int) -> torch.Tensor:
        height, width = self.size
        with Image.open(self.paths[at]) as image:
            # JPEG at a half, a quarter or an eighth of its size, where that fills the wanted one.
            image.draft("RGB", (width, height))
            image = image.convert("RGB")
        # The largest centred part of the wanted shape, then the resizing, in one step.
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image))


def loader(work: dict[str, Any], workers: int) -> DataLoader:
    """Return a DataLoader whose workers stay."""
    photos = Photos(work["paths"], tuple(work["size"]))
    return DataLoader(photos, work["batch"], num_workers=workers, persistent_workers=workers > 0)


def cpu_seconds() -> float:
    """CPU time of this process and of its workers so far."""
    ticks = 0
    for child in multiprocessing.active_children():
        with open(f"/proc/{child.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime and stime, fields 14 and 15 of all
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def one_pass(photos: DataLoader) -> dict[str, float]:
    """Read all images once."""
    cpu_before, started = cpu_seconds(), time.perf_counter()
    images = sum(len(batch) for batch in photos)
    seconds = time.perf_counter() - started
    return {"images": images, "seconds": seconds, "cpu_s": cpu_seconds() - cpu_before}


def main() -> None:
    """Answer line by line until there are no more."""
    torch.set_num_threads(1)  # without workers: to stack a batch with two took three times as long
    work = json.loads(sys.stdin.readline())
    loaders: dict[int, DataLoader] = {}
    for line in sys.stdin:
        workers = json.loads(line)["workers"]
        if workers not in loaders:
            loaders[workers] = loader(work, workers)
            one_pass(loaders[workers])
        answer = {**one_pass(loaders[workers]), "torch": torch.__version__}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
