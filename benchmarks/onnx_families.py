"""Every family of backbones as an ONNX file: is it the same model, how large, how fast?

    python benchmarks/onnx_families.py

A backbone with random weights (its batch norm made to fit photos, else all images would look the
same to it) is trained on photos of ants and bees, once its head alone, once its last two blocks as
well, and each model is written by `write_onnx`. 64 other photos are then judged by ONNX Runtime
from the whole pixels of the file, and by Keras after the library's own resizing. Every family runs
in a process of its own. It takes about 30 minutes and writes benchmarks/results/onnx_families.md
and .json; with `--families` and `--plans` a part of it, what was measured before stays.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from reporting import in_own_process, results_folder, shared_folder, table, write_results

FAMILIES = (
    "MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0",
    "EfficientNetV2B0", "ConvNeXtTiny", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3",
    "InceptionResNetV2", "Xception", "VGG16", "NASNetMobile", "hub:resnet_18_imagenet",
    "hub:vit_base_patch16_224_imagenet",
)  # fmt: skip
TRAIN, COMPARED, BATCH = 16, 64, 16
BOUND = 1e-4
PLANS = ("linear probe", "fine-tuned")


def photos(part: str, number: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Photos at their own sizes, as many of each class, and their labels."""
    from PIL import Image, ImageOps

    folder = shared_folder() / "data" / "ants_bees" / part
    images, labels = [], []
    for label, each in enumerate(("ants", "bees")):
        for path in sorted((folder / each).glob("*.jpg"))[: number // 2]:
            with Image.open(path) as image:
                images.append(np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
            labels.append(label)
    return images, np.array(labels)


def settle(model: Any, images: np.ndarray) -> None:
    """Give batch norm the statistics of photos, as a training would have left them."""
    import keras

    norms = [
        each
        for each in model._flatten_layers()
        if isinstance(each, keras.layers.BatchNormalization)
    ]
    random = np.random.default_rng(0)
    before = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0.0
        if each.center:
            each.beta.assign(random.normal(0, 0.3, each.beta.shape))
    model(images.astype("float32"), training=True)
    for each, momentum in zip(norms, before, strict=True):
        each.momentum = momentum


@contextmanager
def peak_of_children() -> Iterator[list[float]]:
    """Note the largest memory of any process started in a `with` block, in MB, as the one item.

    Read in the processes' own account: what the system says of ended children includes the memory
    of their parent, whose copy they were at first.
    """
    peaks, last, done = [0.0], dict[str, int](), threading.Event()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")

    def watch() -> None:
        while not done.wait(0.02):
            for pid in children.read_text().split():
                try:
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                except OSError:
                    continue
                for line in lines:
                    if line.startswith("VmHWM"):
                        last[pid] = int(line.split()[1])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()
    peaks[0] = max(last.values()) / 1_024


def per_second(call: Any, images: np.ndarray) -> float:
    """Images per second of a call on a batch, the second time."""
    call(images)
    started = time.perf_counter()
    call(images)
    return len(images) / (time.perf_counter() - started)


def exported(
    tuner: Any, images: Sequence[np.ndarray], small: np.ndarray, file: Path, *, timed: bool
) -> dict[str, Any]:
    """Write a trained model, and compare the file with it; where `timed`, its speed too."""
    import onnxruntime

    from ktransfer.export.onnx import write_onnx

    started = time.perf_counter()
    with peak_of_children() as peak:
        write_onnx(tuner.model, tuner.backbone.input_size, file)
    seconds = time.perf_counter() - started
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(batch: np.ndarray) -> np.ndarray:
        return session.run(None, {"images": batch})[0]

    found = np.concatenate([run(each[None]) for each in images])
    expected = tuner.predict(small)
    expected = np.asarray(expected.probabilities)
    difference = np.abs(found - expected)
    return {
        "seconds": seconds,
        "peak_mb": peak[0],
        "file_mb": file.stat().st_size / 1e6,
        "weights_mb": 4e-6 * tuner.model.count_params(),
        "largest": float(difference.max()),
        "mean": float(difference.mean()),
        "top1": float(np.mean(found.argmax(1) == expected.argmax(1))),
        "spread": float(expected[:, 0].std()),
        "onnx_per_s": per_second(run, small[:BATCH]) if timed else None,
        "keras_per_s": per_second(tuner.classifier.forward, small[:BATCH]) if timed else None,
    }


def measure(name: str, names: Sequence[str]) -> None:
    """Return one family with plans of these names; prints a line of JSON."""
    import keras

    from ktransfer import FineTuner, load_backbone
    from ktransfer.data import resize_array
    from ktransfer.plan import last_blocks, linear_probe

    keras.utils.set_random_seed(0)
    backbone = load_backbone(name, None)

    def fitted(images: Sequence[np.ndarray]) -> np.ndarray:
        size = backbone.input_size
        return np.concatenate([resize_array(each[None], size) for each in images])

    (train, labels), (held_out, held_out_labels) = photos("train", TRAIN), photos("val", COMPARED)
    train, small = fitted(train), fitted(held_out)
    settle(backbone.model, train)
    data = {"train": (train, labels), "validation": (small[::4], held_out_labels[::4])}
    tuner = FineTuner(backbone, verbose=False)
    results = {"family": name, "input_px": backbone.input_size[0]}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        plans = {"linear probe": linear_probe(20), "fine-tuned": last_blocks(2, 1, head_epochs=5)}
        for plan in names:
            tuner.fit(data, plan=plans[plan], check="off", cache="off")
            results[plan] = exported(tuner, held_out, small, file, timed=plan == names[-1])
    print(json.dumps(results))


def row(result: dict[str, Any], plan: str) -> list[str]:
    """Return a line of the table."""
    each = result[plan]
    return [
        result["family"],
        plan,
        str(result["input_px"]),
        f"{each['weights_mb']:.0f}",
        f"{each['file_mb']:.1f}",
        f"{each['seconds']:.0f}",
        f"{each['peak_mb']:,.0f}",
        f"{each['largest']:.1e}",
        f"{each['mean']:.1e}",
        f"{each['top1']:.3f}",
        f"{each['spread']:.2f}",
        *(f"{each[name]:.0f}" if each[name] else "" for name in ("onnx_per_s", "keras_per_s")),
    ]


def body(results: list[dict[str, Any]]) -> str:
    """Return the table, and what is to be read from it."""
    header = [
        "family", "trained", "px", "weights, MB", "file, MB", "s", "peak, MB", "largest", "mean",
        "top-1 equal", "spread", "onnxruntime/s", "Keras/s",
    ]  # fmt: skip
    pairs = [(each, plan) for each in results for plan in PLANS if plan in each]
    rows = [row(*each) for each in pairs]
    every = [each[plan] for each, plan in pairs]
    same = all(each["largest"] < BOUND and each["top1"] == 1.0 for each in every)
    how_many = "all" if same else "NOT all"
    versions = ", ".join(
        f"{each} {importlib.metadata.version(each)}" for each in ("onnx", "onnxruntime", "tf2onnx")
    )
    return (
        f"{table(header, rows)}\n\n"
        f"{len(results)} families, {len(pairs)} models, {COMPARED} photos, opset 17; random "
        "weights with the statistics of batch norm fitted to photos. Largest and mean: difference "
        f"in the probability of a class between ONNX Runtime and Keras; {how_many} "
        f"below {BOUND:g} with the same top-1 class. Spread: standard deviation between photos of "
        "Keras' probability of the first class (of 0, the comparison would show nothing). Peak: "
        "resident memory of the process that converts, TensorFlow itself included (0.7 GB); s: "
        "wall time of the whole export. Images per second in a batch of "
        f"{BATCH}, resizing (of images that have the size already) included in ONNX's; the machine "
        f"may do other work at the same time. {versions}.\n"
    )


def earlier(folder: Path) -> dict[str, dict[str, Any]]:
    """Say what was measured before, by family; what is measured again replaces it."""
    file = folder / f"{Path(__file__).stem}.json"
    if not file.is_file():
        return {}
    return {each["family"]: each for each in json.loads(file.read_text())["measurements"]}


def main() -> None:
    """Measure the families one after the other; write the results after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES)
    parser.add_argument("--plans", nargs="+", default=list(PLANS), choices=PLANS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=FAMILIES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments.plans)
        return
    folder = results_folder(arguments.out, smoke=False)
    results = earlier(folder)
    for name in arguments.families:
        command = ("--one", name, "--plans", *arguments.plans)
        found, seconds = in_own_process(__file__, *command)
        results[name] = {**results.get(name, {}), **found}
        print(f"{name}: {seconds:.0f} s", file=sys.stderr)
        ordered = [results[each] for each in FAMILIES if each in results]
        write_results(folder, Path(__file__).stem, body(ordered), ordered)


if __name__ == "__main__":
    main()
