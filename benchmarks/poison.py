"""Files changed, deleted and put back while they are read: no later run is any different for it.

    python benchmarks/poison.py [--rounds 200] [--jobs 2] [--seed 0] [--minutes M] [--progress FILE]
        [--smoke]

A round trains a small network with batch norm on drawn pictures, with a cache of its own. Meanwhile
files are replaced by pictures of another class or of the same size and time, cut short, deleted,
swapped, and put back as they were, several times, at random moments of scan, decoding and training;
half of the moments are drawn from the logarithm of the time, so that the short phases at the
beginning get their share. That training may end as it will, if it names what is wrong. Then the
files are as they were, and the same training is made with the cache that it left: weights, bit for
bit, history, score and skipped files are compared with a training that had a fresh cache. The
trainings take turns: a decided one (profile and domain gap), a head on the features of a given cut,
and last blocks on augmented pictures.

All rounds run in processes of 15 rounds each; with `--progress` they go on where they were ended.
The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, table, write_results

CLASSES = {"blue": (70, 80, 180), "green": (70, 160, 80), "red": (180, 80, 70)}
PER_CLASS = 16
PICTURE_PX, SIZE_PX = 256, 24
KINDS = ("decided", "features", "augmented")
ROUNDS_IN_A_PROCESS = 15
ATTACKS = (1, 6)  # in a round, from and to
FIRST_MOMENT_S = 1e-3
ENDS = ("as ever", "other result", "stopped, file named", "fault")


# --- what is trained ------------------------------------------------------------------------------


def draw_pictures(folder: Path) -> None:
    """Return class folders of noisy pictures whose mean colour tells the class.

    Not all are JPEG.
    """
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            coarse = np.array(colour) + generator.normal(0, 60, (16, 16, 3))
            image = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8))
            suffix = ("jpg", "jpg", "png", "bmp")[number % 4]
            image.resize((PICTURE_PX, PICTURE_PX)).save(folder / name / f"{number:03}.{suffix}")


def small_network() -> Any:
    """Two blocks with batch norm that remembers something, the same weights each time."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(7)
    images = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for filters in (6, 8):  # with names of their own: Keras numbers those of a process
        x = layers.Conv2D(filters, 3, strides=2, padding="same", name=f"conv_{filters}")(x)
        x = layers.BatchNormalization(name=f"norm_{filters}")(x)
        x = layers.ReLU(name=f"relu_{filters}")(x)
    model = keras.Model(images, x, name="small_network")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_variance.assign(0.5 * np.ones(layer.moving_variance.shape))
    return model


def train(pictures: Path, kind: str) -> dict[str, Any]:
    """Return one training, as what is compared of it; its files of the cache stay."""
    from ktransfer import FineTuner
    from ktransfer.plan import Plan, Stage

    tuner = FineTuner(small_network(), None, seed=3, verbose=False)
    stage = {"name": kind, "learning_rate": 1e-2, "batch_size": 16, "epochs": 2}
    if kind == "decided":
        result = tuner.fit(pictures, epochs=2, check="off", fine_tuning="off")
    elif kind == "features":
        plan = Plan(kind, (Stage(unfreeze=1, **stage),))
        result = tuner.fit(pictures, plan=plan, check="off", cache="on")
    else:
        plan = Plan(kind, (Stage(unfreeze=1, augmentation="standard", **stage),))
        result = tuner.fit(pictures, plan=plan, check="off")
    assert tuner.model is not None
    return {
        "weights": [np.array(each).tobytes() for each in tuner.model.get_weights()],
        "history": [
            {name: value for name, value in row.items() if name != "seconds"}
            for done in result.stages
            for row in done.history
        ],
        "score": result.validation.to_dict(),
        "skipped": [(os.path.basename(each.path), each.reason) for each in result.skipped],
        "gap": result.advice.gap.to_dict() if result.advice.gap else None,
        "repaired": [note for note in result.notes if "the cache entry" in note],
    }


# --- attacks --------------------------------------------------------------------------------------


class Attacker:
    """Changes files of a folder in a thread of its own, and puts them back.

    Args:
        folder: the pictures.
        whole: the same pictures, as they are to be.
        seed: of what is done, and when.
        duration_s: of a training.
    """

    def __init__(self, folder: Path, whole: Path, seed: str, duration_s: float) -> None:
        self._random = random.Random(seed)
        self._folder, self._whole = folder, whole
        self._names = sorted(str(path.relative_to(whole)) for path in whole.glob("*/*"))
        self._moments = sorted(
            self._moment(duration_s) for _ in range(self._random.randint(*ATTACKS))
        )
        self._duration_s = duration_s
        self._done = threading.Event()
        self.actions: list[str] = []

    def _moment(self, duration_s: float) -> float:
        if self._random.random() < 0.5:
            return self._random.uniform(0, duration_s)
        span = math.log(duration_s / FIRST_MOMENT_S)
        return FIRST_MOMENT_S * math.exp(self._random.uniform(0, span))

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """At work during a `with`; afterwards all files are as they were."""
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()
            for name in self._names:
                self._put_back(name)

    def _work(self) -> None:
        started = time.perf_counter()
        for moment in self._moments:
            if self._done.wait(max(0.0, started + moment - time.perf_counter())):
                return
            names = self._random.sample(self._names, self._random.choice((1, 2, 8, 30)))
            action = self._random.choice(
                (self.replace, self.disguise, self.cut, self.delete, self.swap)
            )
            for name in names:
                action(name)
            self.actions.append(action.__name__)
            held_s = FIRST_MOMENT_S * math.exp(self._random.uniform(0, math.log(300)))
            self._done.wait(min(held_s, self._duration_s))
            for name in self._names:  # of a swap the other file, too
                self._put_back(name)

    def _write(self, name: str, content: bytes, like: Path | None = None) -> None:
        """In one step, as programs that copy do; with the times of another file."""
        beside = self._folder / f".{os.path.basename(name)}.new"
        beside.write_bytes(content)
        if like:
            times = like.stat()
            os.utime(beside, ns=(times.st_atime_ns, times.st_mtime_ns))
        beside.replace(self._folder / name)

    def _put_back(self, name: str) -> None:
        whole = self._whole / name
        now = self._folder / name
        if not now.exists() or now.read_bytes() != whole.read_bytes():
            self._write(name, whole.read_bytes(), whole)

    def _other(self, name: str) -> str:
        """Return a file of another class and the same format."""
        alike = [each for each in self._names if each[-3:] == name[-3:] and each[:3] != name[:3]]
        return self._random.choice(alike)

    def replace(self, name: str) -> None:
        """By a picture of another class."""
        self._write(name, (self._whole / self._other(name)).read_bytes())

    def disguise(self, name: str) -> None:
        """By other bytes of the same number and with the same times, in place."""
        whole = self._whole / name
        content = (self._whole / self._other(name)).read_bytes()
        content = content[: whole.stat().st_size].ljust(whole.stat().st_size, b"\0")
        (self._folder / name).write_bytes(content)
        times = whole.stat()
        os.utime(self._folder / name, ns=(times.st_atime_ns, times.st_mtime_ns))

    def cut(self, name: str) -> None:
        """Short, as while it is being copied."""
        os.truncate(self._folder / name, (self._whole / name).stat().st_size // 2)

    def delete(self, name: str) -> None:
        """Away."""
        (self._folder / name).unlink(missing_ok=True)

    def swap(self, name: str) -> None:
        """With a picture of another class."""
        other = self._other(name)
        self._write(name, (self._whole / other).read_bytes())
        self._write(other, (self._whole / name).read_bytes())


# --- rounds ---------------------------------------------------------------------------------------


def with_cache(cache: Path, pictures: Path, kind: str) -> dict[str, Any]:
    """Return a training that finds and leaves what it can in a cache."""
    os.environ["KTRANSFER_CACHE"] = str(cache)
    return train(pictures, kind)


def attacked(cache: Path, pictures: Path, kind: str, expected: dict[str, Any]) -> tuple[str, str]:
    """Say how a training ends that is disturbed, one of `ENDS`, and what it says."""
    from ktransfer import InputError

    try:
        found = with_cache(cache, pictures, kind)
    except InputError as error:
        return ENDS[2], str(error)
    except Exception as error:  # whatever it is, it is not the named error that it should be
        return ENDS[3], f"{type(error).__name__}: {error}"[:500]
    return (ENDS[1] if differences(found, expected) else ENDS[0]), ""


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Say what of a training is not as in another one, bit for bit."""
    return [name for name in expected if name != "repaired" and found[name] != expected[name]]


def rounds(numbers: list[int], seed: int, minutes: float) -> Iterator[dict[str, Any]]:
    """Yield the rounds of one process."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ktransfer-poison-") as name:
        scratch = Path(name)
        draw_pictures(scratch / "whole")
        expected, duration_s = {}, {}
        for kind in KINDS:
            for warm in ("first", "second"):  # the first imports and compiles
                started = time.perf_counter()
                expected[kind] = with_cache(scratch / f"{kind}-{warm}", scratch / "whole", kind)
                duration_s[kind] = time.perf_counter() - started
        for number in numbers:
            if time.perf_counter() - began > 60 * minutes:
                return
            kind = KINDS[number % len(KINDS)]
            pictures, cache = scratch / f"pictures-{number}", scratch / f"cache-{number}"
            shutil.copytree(scratch / "whole", pictures)
            attacker = Attacker(pictures, scratch / "whole", f"{seed} {number}", duration_s[kind])
            with attacker.at_work():
                end, said = attacked(cache, pictures, kind, expected[kind])
            left = entries_in(cache)
            later = with_cache(cache, pictures, kind)
            yield {
                "round": number,
                "kind": kind,
                "attacks": attacker.actions,
                "end": end,
                "said": said.replace(str(pictures), "PICTURES"),
                "entries_left": left,
                "entries_made": entries_in(cache) - left,
                "repaired": len(later["repaired"]),
                "differences": differences(later, expected[kind]),
            }
            shutil.rmtree(pictures)
            shutil.rmtree(cache, ignore_errors=True)


def entries_in(cache: Path) -> int:
    """Say how many entries a cache has."""
    return len(list(cache.iterdir())) if cache.exists() else 0


def in_processes(numbers: list[int], jobs: int, seed: int, minutes: float, progress: Path) -> None:
    """Return the rounds, some in each process: what TensorFlow compiles is never given back.

    Each is added to a file of JSON lines when it is done.
    """
    began = time.perf_counter()

    def some(first: int) -> None:
        left = minutes - (time.perf_counter() - began) / 60
        if left <= 0:
            return
        mine = ",".join(map(str, numbers[first : first + ROUNDS_IN_A_PROCESS]))
        command = [sys.executable, __file__, "--some", mine]
        command += ["--seed", str(seed), "--minutes", str(left)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr, flush=True)
            with progress.open("a") as file:
                file.write(line)
        if process.wait():
            raise RuntimeError(f"the process of the rounds {mine} failed")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(some, range(0, len(numbers), ROUNDS_IN_A_PROCESS)))


def finished(progress: Path) -> list[dict[str, Any]]:
    """Return the rounds that are done, in order."""
    lines = progress.read_text().splitlines() if progress.exists() else []
    return sorted(map(json.loads, lines), key=lambda each: each["round"])


def report(found: list[dict[str, Any]]) -> str:
    """Return the counts, and every round that is not as it should be."""
    ends, actions = Counter(each["end"] for each in found), Counter[str]()
    for each in found:
        actions.update(each["attacks"])
    failed = [each for each in found if each["differences"] or each["end"] == ENDS[3]]
    counts = {
        "rounds": len(found),
        "attacks": sum(actions.values()),
        "later runs with the cache that was left": len(found),
        "of these different from one with a fresh cache": sum(
            bool(x["differences"]) for x in found
        ),
        "of these with entries left to them": sum(bool(x["entries_left"]) for x in found),
        "of these that made no entry anew": sum(not x["entries_made"] for x in found),
        "entries that were repaired": sum(each["repaired"] for each in found),
    }
    lines = [
        table(["count", "number"], [[name, str(number)] for name, number in counts.items()]),
        "",
        table(["the disturbed training ended", "rounds"], [[x, str(ends[x])] for x in ENDS]),
        "",
        table(["attack", "times"], [[x, str(n)] for x, n in sorted(actions.items())]),
        "",
        *(f"- FAILED: {json.dumps(each)}" for each in failed),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all rounds, or some for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin none after so long")
    parser.add_argument("--progress", type=Path, help="rounds that are done; goes on from there")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="3 rounds")
    parser.add_argument("--some", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.some:
        numbers = [int(each) for each in arguments.some.split(",")]
        for each in rounds(numbers, arguments.seed, arguments.minutes):
            print(json.dumps(each), flush=True)
        return
    number = 3 if arguments.smoke else arguments.rounds
    with tempfile.TemporaryDirectory(prefix="ktransfer-poison-") as name:
        progress = arguments.progress or Path(name) / "rounds.jsonl"
        done = {each["round"] for each in finished(progress)}
        left = [each for each in range(number) if each not in done]
        in_processes(left, arguments.jobs, arguments.seed, arguments.minutes, progress)
        found = finished(progress)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "poison", report(found), found)
    sys.exit(1 if any(each["differences"] or each["end"] == ENDS[3] for each in found) else 0)


if __name__ == "__main__":
    main()
