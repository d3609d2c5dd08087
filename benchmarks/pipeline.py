"""How fast photos become features: decoding alone, the network alone, both together, and torch.

    python benchmarks/pipeline.py --torch-python TORCHVENV/bin/python [--rounds N] [--wait S]

TORCHVENV is a virtual environment of its own: `python3 -m venv TORCHVENV && TORCHVENV/bin/pip
install torch pillow numpy`. Without `--torch-python` that part is left out.

All photos of ants_bees in their original sizes, MobileNetV2 0.35 at 224 px, batches of 32:

- decoding: `image_dataset`, from files to uint8 batches, made anew for every pass as the library
  does it.
- network: the function of `compile_forward` on these batches, held in memory.
- together: `extract_part`, the library's own way from files to features.
- torch: a DataLoader with Pillow (`pipeline_torch.py`), the same centre resized to the same size,
  JPEG decoded at a reduced size where that is enough, with 0, 1 and 2 workers, which are kept
  between passes. Compared is in each round the fastest of the three.

The contestants take turns, a pass each in every round, every other round in reverse order, after a
round that does not count; ratios are taken within a round. Asked: together at least 0.9 of
1 / (1/decoding + 1/network), since on a CPU both share the cores; decoding at least as fast as
torch. On a machine that others use, too, a ratio says little: who runs more threads gets a larger
share. So it is recorded how much of the cores others took during each pass; a round in which they
took less than a tenth of them counts as quiet, and `--wait` waits for such moments before a pass.
Beside the wall time stands the CPU time for an image: what the cores had to do, whoever else used
them. It takes about 2 minutes on 2 quiet CPU cores.
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
from ktransfer.features import FORWARD_BATCH_SIZE, compile_forward, extract_part, pool

WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"
SIZE = (224, 224)
DECODING, NETWORK, TOGETHER = "decoding", "network", "together"
TORCH = {f"torch, {workers} workers": {"workers": workers} for workers in (0, 1, 2)}
#: Others that take less than this share of the cores leave a measurement alone.
QUIET = 0.1
Figures = dict[str, float]
Contestant = Callable[[], Figures]


def timed_pass(run: Callable[[], int]) -> Figures:
    """Images, wall and CPU seconds of a function that says how many images it has done."""
    cpu_before, started = time.process_time(), time.perf_counter()
    images = run()
    seconds = time.perf_counter() - started
    return {"images": images, "seconds": seconds, "cpu_s": time.process_time() - cpu_before}


def busy_seconds() -> float:
    """Say what all cores together have spent on anything so far."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def watched(run: Contestant) -> Figures:
    """Return a pass, with the share of the cores that others took meanwhile."""
    busy, started = busy_seconds(), time.perf_counter()
    figures = run()
    taken = busy_seconds() - busy - figures["cpu_s"]
    cores = (time.perf_counter() - started) * (os.cpu_count() or 1)
    return {**figures, "others": max(0.0, taken / cores)}


def await_quiet(most_s: float) -> None:
    """Wait until others have left the cores alone for half a second, or `most_s` seconds."""
    end = time.perf_counter() + most_s
    while time.perf_counter() < end:
        busy = busy_seconds()
        time.sleep(0.5)
        if busy_seconds() - busy < QUIET * 0.5 * (os.cpu_count() or 1):
            return


def library(part: Part, shared: Path) -> dict[str, Contestant]:
    """Return the library's three contestants."""
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
    """Run the torch contestants in a process of their own; none without an interpreter."""
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


def take_turns(
    contestants: dict[str, Contestant], rounds: int, wait_s: float
) -> list[dict[str, Figures]]:
    """Return a pass of each contestant in each round, after a round that does not count."""
    found = []
    for number in range(rounds + 1):
        passes = {}
        for name in list(contestants) if number % 2 else reversed(contestants):
            await_quiet(wait_s)
            passes[name] = watched(contestants[name])
        found.append(passes)
    return found[1:]


def rate(figures: Figures) -> float:
    """Images per second."""
    return figures["images"] / figures["seconds"]


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Median and range."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def of_bound(passes: dict[str, Figures]) -> float:
    """Say what together reaches of 1 / (1/decoding + 1/network)."""
    apart = 1 / rate(passes[DECODING]) + 1 / rate(passes[NETWORK])
    return rate(passes[TOGETHER]) * apart


def is_quiet(passes: dict[str, Figures]) -> bool:
    """Tell whether others left the cores alone during all passes of a round."""
    return all(each["others"] < QUIET for each in passes.values())


def rates_table(rounds: list[dict[str, Figures]]) -> str:
    """Images per second and CPU time of each contestant."""
    rows = [
        [
            name,
            spread([rate(each[name]) for each in rounds]),
            spread([1e3 * each[name]["cpu_s"] / each[name]["images"] for each in rounds], ".2f"),
        ]
        for name in sorted(rounds[0], key=[DECODING, NETWORK, TOGETHER, *TORCH].index)
    ]
    return table(["what", "images per second", "CPU ms for an image"], rows)


def of_torch(passes: dict[str, Figures]) -> float | None:
    """Say how many times as fast decoding is as the fastest torch loader; None without torch."""
    found = [rate(passes[name]) for name in TORCH if name in passes]
    return rate(passes[DECODING]) / max(found) if found else None


def asked(rounds: list[dict[str, Figures]]) -> str:
    """Say what was asked for, over some rounds."""
    shares = spread([of_bound(each) for each in rounds], ".2f")
    lines = [f"- together, of 1 / (1/decoding + 1/network): **{shares}** (asked: at least 0.9)"]
    times = [found for each in rounds if (found := of_torch(each)) is not None]
    if times:
        lines.append(
            f"- decoding, of the fastest torch loader of the round: **{spread(times, '.2f')} "
            "times** (asked: at least 1)"
        )
    return "\n".join(lines)


def singly(rounds: list[dict[str, Figures]]) -> str:
    """Return every round."""
    names = [name for name in (DECODING, NETWORK, TOGETHER, *TORCH) if name in rounds[0]]
    rows = []
    for number, each in enumerate(rounds, 1):
        others = max(figures["others"] for figures in each.values())
        times = of_torch(each)
        row = [str(number), f"{others:.0%}", *(f"{rate(each[name]):,.0f}" for name in names)]
        rows.append([*row, f"{of_bound(each):.2f}", "" if times is None else f"{times:.2f}"])
    header = ["round", "others at most", *names, "together / bound", "decoding / torch"]
    return table(header, rows)


def cpu_comparison(rounds: list[dict[str, Figures]]) -> str:
    """Return the same in CPU time, which does not depend on what others do."""
    cpu = {
        name: statistics.median(each[name]["cpu_s"] / each[name]["images"] for each in rounds)
        for name in rounds[0]
    }
    share = cpu[TOGETHER] / (cpu[DECODING] + cpu[NETWORK])
    sentence = f"In CPU time, together takes {share:.2f} of decoding and the network alone"
    least = min((cpu[name] for name in TORCH if name in cpu), default=None)
    return sentence + (f", decoding {cpu[DECODING] / least:.2f} of torch." if least else ".")


def report(rounds: list[dict[str, Figures]]) -> str:
    """Return the tables and what was asked for."""
    quiet = [each for each in rounds if is_quiet(each)]
    paragraphs = [
        f"{int(rounds[0][DECODING]['images'])} photos of ants_bees in their original sizes, "
        f"{SIZE[0]} px, MobileNetV2 0.35, batches of {FORWARD_BATCH_SIZE}; medians (ranges) of "
        f"{len(rounds)} rounds.",
        rates_table(rounds),
        f"All {len(rounds)} rounds:\n\n{asked(rounds)}",
        f"The quiet rounds, {len(quiet)}, in which others took less than {QUIET:.0%} of the "
        f"cores:\n\n{asked(quiet)}"
        if quiet
        else f"No round was quiet: in each, others took more than {QUIET:.0%} of the cores.",
        cpu_comparison(rounds),
        f"Round by round, in images per second:\n\n{singly(rounds)}",
    ]
    return "\n\n".join(paragraphs) + "\n"


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wait", type=float, default=0, help="most seconds to wait before a pass")
    parser.add_argument("--torch-python", help="an interpreter that has torch, pillow and numpy")
    parser.add_argument("--smoke", action="store_true", help="48 photos, 2 rounds")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shared = shared_folder()
    part = joined(read_folder(shared / "data" / "ants_bees").parts)
    if arguments.smoke:
        part = part.select(np.linspace(0, len(part) - 1, 48).astype(int))
    with torch_loaders(arguments.torch_python, part) as loaders:
        contestants = {**library(part, shared), **loaders}
        rounds = take_turns(contestants, 2 if arguments.smoke else arguments.rounds, arguments.wait)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "pipeline", report(rounds), rounds)


if __name__ == "__main__":
    main()
