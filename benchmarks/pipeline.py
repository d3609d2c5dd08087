"""How fast photos become features: decoding alone, the network alone, both together, and torch.

    python benchmarks/pipeline.py --torch-python TORCHVENV/bin/python [--rounds 9] [--smoke]

TORCHVENV is a virtual environment of its own: `python3 -m venv TORCHVENV && TORCHVENV/bin/pip
install torch pillow numpy`. Without `--torch-python` that part is left out.

All photos of ants_bees in their original sizes, MobileNetV2 0.35 at 224 px, batches of 32:

- decoding: `image_dataset`, from files to uint8 batches, made anew for every pass as the library
  does it.
- network: the function of `compile_forward` on these batches, held in memory.
- together: `extract_part`, the library's own way from files to features.
- torch: a DataLoader with Pillow (`pipeline_torch.py`), the same centre resized to the same size,
  with 0, 1 and 2 workers, JPEG decoded in full and at a reduced size; the best of these six by the
  median is compared. It keeps its workers between passes.

The contestants take turns, a pass each in every round, every other round in reverse order, after a
first round that does not count; ratios are taken within a round. Asked: together at least 0.9 of
1 / (1/decoding + 1/network), since on a CPU both share the cores; decoding at least as fast as
torch. Beside the wall time stands the CPU time for an image, which says what the cores had to do
whoever else used them. It takes about 3 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from reporting import results_folder, shared_folder, table, write_results

from ktransfer.backbones import load_backbone
from ktransfer.data import Part, image_dataset, read_folder
from ktransfer.data.parts import joined
from ktransfer.features import FORWARD_BATCH_SIZE, compile_forward, extract_part
from ktransfer.heads import pool

WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"
SIZE = (224, 224)
DECODING, NETWORK, TOGETHER = "decoding", "network", "together"
TORCH = {
    f"torch, {workers} workers{', reduced' if reduced else ''}": {
        "workers": workers,
        "reduced": reduced,
    }
    for reduced in (False, True)
    for workers in (0, 1, 2)
}
Figures = dict[str, float]
Contestant = Callable[[], Figures]


def timed_pass(run: Callable[[], int]) -> Figures:
    """Images, wall and CPU seconds of a function that says how many images it has done."""
    cpu_before, started = time.process_time(), time.perf_counter()
    images = run()
    seconds = time.perf_counter() - started
    return {"images": images, "seconds": seconds, "cpu_s": time.process_time() - cpu_before}


def library(part: Part, shared: Path) -> dict[str, Contestant]:
    """The library's three contestants."""
    backbone = load_backbone("MobileNetV2", shared / WEIGHTS, alpha=0.35).model
    forward = compile_forward(keras.Model(backbone.inputs, pool(backbone.output, "avg")))
    decoded = [batch.numpy() for batch, _ in image_dataset(part, SIZE)]

    def decode() -> int:
        dataset = image_dataset(part, SIZE, batch_size=FORWARD_BATCH_SIZE)
        return sum(len(images) for images, _ in dataset)

    def run_network() -> int:
        return sum(len(forward(images)) for images in decoded)

    def both() -> int:
        return len(extract_part(forward, part, SIZE)[0].values)

    ways = {DECODING: decode, NETWORK: run_network, TOGETHER: both}
    return {name: lambda run=run: timed_pass(run) for name, run in ways.items()}


@contextmanager
def torch_loaders(python: str | None, part: Part) -> Iterator[dict[str, Contestant]]:
    """The torch contestants, in a process of their own; none without an interpreter."""
    if python is None:
        yield {}
        return
    work = {
        "paths": [file.path for file in part.files],
        "size": SIZE,
        "batch": FORWARD_BATCH_SIZE,
    }
    command = [python, str(Path(__file__).with_name("pipeline_torch.py"))]
    # Its own packages, not those of this interpreter.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as child:
        assert child.stdin
        assert child.stdout

        def ask(message: Any) -> None:
            child.stdin.write(json.dumps(message) + "\n")
            child.stdin.flush()

        def one_pass(configuration: dict[str, Any]) -> Figures:
            ask(configuration)
            answer = child.stdout.readline()
            if not answer:  # its own traceback is on standard error
                raise SystemExit(f"{' '.join(command)} ended early")
            return json.loads(answer)

        ask(work)
        yield {name: lambda asked=asked: one_pass(asked) for name, asked in TORCH.items()}
        child.stdin.close()


def take_turns(contestants: dict[str, Contestant], rounds: int) -> list[dict[str, Figures]]:
    """A pass of each contestant in each round, after a round that does not count."""
    found = []
    for number in range(rounds + 1):
        order = list(contestants) if number % 2 else list(reversed(contestants))
        passes = {name: contestants[name]() for name in order}
        found.append({**passes, "load": {"load": os.getloadavg()[0]}})
    return found[1:]


def rate(figures: Figures) -> float:
    """Images per second."""
    return figures["images"] / figures["seconds"]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def of_bound(passes: dict[str, Figures]) -> float:
    """What together reaches of 1 / (1/decoding + 1/network)."""
    apart = 1 / rate(passes[DECODING]) + 1 / rate(passes[NETWORK])
    return rate(passes[TOGETHER]) * apart


def best_torch(rounds: list[dict[str, Figures]]) -> str | None:
    """The torch configuration with the highest median, if there is any."""
    names = [name for name in rounds[0] if name in TORCH]
    medians = {name: statistics.median(rate(each[name]) for each in rounds) for name in names}
    return max(medians, key=medians.__getitem__, default=None)


def report(rounds: list[dict[str, Figures]]) -> str:
    """The tables and what was asked for."""
    names = [name for name in rounds[0] if name != "load"]
    names.sort(key=[DECODING, NETWORK, TOGETHER, *TORCH].index)
    rows = [
        [
            name,
            spread([rate(each[name]) for each in rounds]),
            spread([1e3 * each[name]["cpu_s"] / each[name]["images"] for each in rounds], ".2f"),
        ]
        for name in names
    ]
    shares = [of_bound(each) for each in rounds]
    best = best_torch(rounds)
    against = [rate(each[DECODING]) / rate(each[best]) for each in rounds] if best else []
    header = ["round", "load", *names[:3], "together / bound"]
    header += [f"best torch ({best})", "decoding / torch"] if best else []
    singly = []
    for number, each in enumerate(rounds, 1):
        line = [str(number), f"{each['load']['load']:.1f}"]
        line += [f"{rate(each[name]):,.0f}" for name in names[:3]]
        line.append(f"{of_bound(each):.2f}")
        if best:
            line += [f"{rate(each[best]):,.0f}", f"{against[number - 1]:.2f}"]
        singly.append(line)
    images = int(rounds[0][DECODING]["images"])
    lines = [
        f"{images} photos of ants_bees in their original sizes, {SIZE[0]} px, MobileNetV2 0.35, "
        f"batches of {FORWARD_BATCH_SIZE}; medians (ranges) of {len(rounds)} rounds.\n",
        table(["what", "images per second", "CPU ms for an image"], rows),
        f"\n- together, of 1 / (1/decoding + 1/network): **{spread(shares, '.2f')}** "
        "(asked: at least 0.9)",
    ]
    if best:
        lines.append(
            f"- decoding, of the best torch loader ({best}): **{spread(against, '.2f')} times** "
            f"(asked: at least 1); torch {rounds[0][best]['torch']}"
        )
    lines.append("\nRound by round, in images per second (load: of the last minute):\n")
    lines.append(table(header, singly))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--torch-python", help="an interpreter that has torch, pillow and numpy")
    parser.add_argument("--smoke", action="store_true", help="48 photos, 2 rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shared = shared_folder()
    part = joined(read_folder(shared / "data" / "ants_bees").parts)
    if arguments.smoke:
        part = part.select(np.linspace(0, len(part) - 1, 48).astype(int))
    with torch_loaders(arguments.torch_python, part) as torch:
        contestants = {**library(part, shared), **torch}
        rounds = take_turns(contestants, 2 if arguments.smoke else arguments.rounds)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "pipeline", report(rounds), rounds)


if __name__ == "__main__":
    main()
