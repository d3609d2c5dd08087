"""An exported file against the model it came from: time, memory, and how far they differ.

    python benchmarks/serving.py [--repeat 7] [--smoke]

Trains MobileNetV2 1.0 on ants and bees (head only), exports it as ONNX, and measures

- the first prediction: seconds from the start of `ktransfer predict MODEL.onnx PHOTO` to its line;
- memory: the peak (VmHWM) of processes that stream 100 and 1,000 photos through the file;
- images per second from file to label, of the file and of `FineTuner.predict`, in one process;
- agreement on all photos, validation and training, from file to label.

Needs the photos and weights of CONTRIBUTING.md, and the extra `onnx`. `--smoke`: the small weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, shared_folder, table, write_results

from ktransfer import FineTuner, OnnxClassifier
from ktransfer.data import image_dataset, read_paths
from ktransfer.data.images.host import read_on_host

# Streams so many photos of a folder, one after the other and again, and prints the peak in KB.
STREAM = """
import itertools, sys
from pathlib import Path
from ktransfer import OnnxClassifier
photos = itertools.cycle(sorted(Path(sys.argv[2]).rglob("*.jpg")))
paths = list(itertools.islice(photos, int(sys.argv[3])))
assert sum(map(len, OnnxClassifier(sys.argv[1]).stream(paths))) == len(paths)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def exported(shared: Path, folder: Path, *, smoke: bool) -> tuple[FineTuner, Path]:
    """Return the model, and the file of it."""
    alpha = 0.35 if smoke else 1.0
    weights = shared / "weights" / f"mobilenetv2_{alpha}_224_notop.weights.h5"
    options = {"alpha": alpha} if smoke else {}
    tuner = FineTuner("MobileNetV2", weights=str(weights), verbose=False, **options)
    tuner.fit(shared / "data" / "ants_bees", plan="linear_probe")
    file = folder / "ants_bees.onnx"
    print(tuner.export(file))
    return tuner, file


def first_prediction_s(model: Path, photo: Path) -> tuple[float, float]:
    """Return seconds from the start of the process to the first line that it prints.

    Returns:
        These, and the seconds that the whole process computed, in all of its threads.
    """
    command = [sys.executable, "-m", "ktransfer", "predict", str(model), str(photo)]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0  # it has been waited for
    if photo.name not in line:
        sys.exit(f"{command} printed {line!r}")
    return seconds, used.ru_utime + used.ru_stime


def peak_mb(model: Path, photos: Path, count: int) -> float:
    """Peak memory of a process that streams `count` photos."""
    command = [sys.executable, "-c", STREAM, str(model), str(photos), str(count)]
    return int(subprocess.run(command, check=True, capture_output=True).stdout) / 1024


def agreement(tuner: FineTuner, file: Path, photos: Path) -> dict[str, Any]:
    """Return the same photos through both, from file to label, and how long that took."""
    classifier = OnnxClassifier(file)
    few = sorted(photos.rglob("*.jpg"))[:8]
    figures: dict[str, Any] = {}
    found = []
    for name, predict in (("file", classifier.predict), ("model", tuner.predict)):
        predict(few)  # the first call compiles
        started, computed = time.perf_counter(), time.process_time()
        found.append(predict(photos))
        figures[f"{name}_images_per_s"] = len(found[-1]) / (time.perf_counter() - started)
        figures[f"{name}_cpu_ms"] = 1_000 * (time.process_time() - computed) / len(found[-1])
    ours, theirs = found
    difference = np.abs(ours.probabilities - theirs.probabilities)
    return {
        **figures,
        "images": len(ours),
        "same_files": ours.paths == theirs.paths and ours.skipped == theirs.skipped,
        "same_label": float(np.mean(ours.indices == theirs.indices)),
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "different_pixels": images_with_other_pixels(photos, classifier.input_size),
    }


def images_with_other_pixels(photos: Path, size: tuple[int, int]) -> int:
    """Say how many photos Pillow and NumPy read otherwise than TensorFlow, be it by one pixel."""
    part, _ = read_paths(photos)
    differ = 0
    for images, indices in image_dataset(part, size):
        for image, index in zip(images.numpy(), indices.numpy(), strict=True):
            differ += not np.array_equal(image, read_on_host(part.images, int(index), size))
    return differ


def speed_of(name: str, figures: dict[str, Any]) -> str:
    """Images a second, and what an image costs, which other programs slow down less."""
    speed, cost = figures[f"{name}_images_per_s"], figures[f"{name}_cpu_ms"]
    return f"{speed:.0f} images/s, {cost:.1f} ms of computing an image"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shared = shared_folder()
    photos = shared / "data" / "ants_bees"
    with tempfile.TemporaryDirectory() as name:
        tuner, file = exported(shared, Path(name), smoke=arguments.smoke)
        photo = next(photos.rglob("*.jpg"))
        first = [first_prediction_s(file, photo) for _ in range(arguments.repeat)]
        counts = (10, 20) if arguments.smoke else (100, 1_000)
        figures = {
            "file_mb": file.stat().st_size / 2**20,
            "first_prediction_s": first,
            "peak_mb": {str(count): peak_mb(file, photos, count) for count in counts},
            **agreement(tuner, file, photos / "val" if arguments.smoke else photos),
            "load_average": os.getloadavg(),
        }
    waited, computed = zip(*first, strict=True)
    few, many = figures["peak_mb"].items()
    rows = [
        ["first prediction after the start of the process, median", f"{np.median(waited):.2f} s"],
        ["the slowest of them", f"{max(waited):.2f} s"],
        ["that the process computed, median", f"{np.median(computed):.2f} s"],
        [f"peak memory, {few[0]} photos", f"{few[1]:.0f} MB"],
        [f"peak memory, {many[0]} photos", f"{many[1]:.0f} MB"],
        ["the file, from file to label", speed_of("file", figures)],
        ["`FineTuner.predict`", speed_of("model", figures)],
        ["photos with the same label", f"{figures['same_label']:.1%} of {figures['images']}"],
        ["largest difference in probability", f"{figures['max_difference']:.1e}"],
        ["mean difference", f"{figures['mean_difference']:.1e}"],
        ["photos that are read otherwise, by a pixel or more", f"{figures['different_pixels']}"],
    ]
    note = f"Load average at the end: {figures['load_average'][0]:.1f}; 1 is this benchmark's own."
    body = f"{table(['figure', 'value'], rows)}\n\n{note}\n"
    write_results(results_folder(arguments.out, smoke=arguments.smoke), "serving", body, figures)


if __name__ == "__main__":
    main()
