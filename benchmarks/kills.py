"""Kills at random moments: every training goes on, and ends as if nothing had happened.

    python benchmarks/kills.py [--kills 200] [--jobs 2] [--seed 0] [--minutes M] [--smoke]

A residual network with batch norm and dropout trains on 60 drawn pictures of 24 px in three stages,
about 6 s from the request to the saved run, half of it in epochs and half in tracing, with
checkpoints and with the cache. Each trial starts it in a process of its own, kills it with SIGKILL
at a moment drawn from 0 to 1.1 times the duration of an uninterrupted training, looks whether the
folder can be read, and resumes; every second resumption is killed as well, and so on. Weights, bit
for bit, history and score are compared with an uninterrupted training. The cache of a trial is its
own, and survives its kills.

TensorFlow is not to be forked once it has threads, so each process imports it anew: with 2 jobs on
2 CPU cores, 200 kills take about 40 minutes. The exit code is 1 if anything failed.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from reporting import results_folder, table, write_results

CLASSES = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 50, 40)}
PER_CLASS = 20
SIZE_PX = 24
LONGEST = 1.1  # of the uninterrupted duration: some kills come when the run is complete
AGAIN = 0.5  # share of the resumptions that are killed, too
PATIENCE_S = 600  # the machine may be busy with other work
COMPLETE = "after the run was complete"
PHASES = (
    "before the first checkpoint",
    "in stage 1",
    "in stage 2",
    "in stage 3",
    "writing a checkpoint",
    "after the last stage",
    "saving the run",
    COMPLETE,
)


# --- in a process of its own ----------------------------------------------------------------------


def draw_pictures(folder: Path) -> Path:
    """Return class folders of noisy pictures whose mean colour tells the class."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = np.array(colour) + generator.normal(0, 60, (SIZE_PX, SIZE_PX, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.png")
    return folder


def residual_network() -> Any:
    """Two residual blocks with batch norm and dropout, the same random weights each time."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(7)
    images = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    for filters in (8, 16):
        shortcut = layers.Conv2D(filters, 1, strides=2)(x)
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.1, seed=filters)(layers.ReLU()(x))
        x = layers.Add()([layers.Conv2D(filters, 3, padding="same")(x), shortcut])
    return keras.Model(images, x, name="residual_network")


def train(pictures: Path, run: Path) -> None:
    """Begin a training or go on with it."""
    from ktransfer import FineTuner
    from ktransfer.plan import Plan, Stage

    common = {"batch_size": 16, "dropout": 0.2}
    stages = (
        Stage(name="head", unfreeze=0, epochs=60, learning_rate=1e-2, **common),
        Stage(
            name="last 1",
            unfreeze=1,
            epochs=40,
            learning_rate=5e-3,
            batch_norm="train",
            augmentation="light",
            schedule="cosine",
            warmup_epochs=1,
            **common,
        ),
        Stage(
            name="everything",
            unfreeze="all",
            epochs=30,
            learning_rate=2e-3,
            layer_decay=0.8,
            batch_norm="train",
            patience=20,
            **common,
        ),
    )
    tuner = FineTuner(residual_network(), None, seed=3, verbose=False)
    print("fit", flush=True)
    tuner.fit(pictures, plan=Plan("kills", stages), out=run, resume=True)
    print("done", flush=True)


# --- one trial ------------------------------------------------------------------------------------


@dataclass
class Kill:
    """One kill: when it came, what was going on, and whether the folder could be read."""

    delay_s: float
    phase: str
    epochs: int
    readable: bool
    fault: str = ""


@dataclass
class Trial:
    """One training with its kills."""

    number: int
    kills: list[Kill] = field(default_factory=list)
    resumed: bool = False
    differences: list[str] = field(default_factory=list)
    fault: str = ""

    @property
    def equal(self) -> bool:
        """Whether it ended as the uninterrupted training did."""
        return self.resumed and not self.differences


class Child:
    """A training in a process of its own.

    Args:
        pictures: what it trains on.
        run: its folder.
        cache: of the library.
        linger: have it wait to be killed when it is done.
    """

    def __init__(self, pictures: Path, run: Path, cache: Path, *, linger: bool = False) -> None:
        command = [sys.executable, __file__, "--train", str(run), "--pictures", str(pictures)]
        command += ["--linger"] if linger else []
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KTRANSFER_CACHE": str(cache)}
        self.run = run
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def wait_for_request(self) -> None:
        """Wait until the training has begun: what was asked for lies on disk, or a saved run."""
        assert self.process.stdout is not None
        self.process.stdout.readline()
        end = time.monotonic() + PATIENCE_S
        begun = (self.run / "training" / "request.json", self.run / "run.json")
        while not any(path.exists() for path in begun) and self.process.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f"no training began in {PATIENCE_S} s")
            time.sleep(0.001)

    def kill(self) -> str:
        """SIGKILL; what it wrote on standard error, which is empty where all is well."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
            return ""
        return self.process.communicate()[1]

    def end(self) -> str:
        """Wait until it is done; what it wrote on standard error where it failed, else ''."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return errors[-1_500:] or "failed" if self.process.returncode else ""


def look(run: Path, delay_s: float) -> Kill:
    """Say what a kill left behind."""
    from ktransfer.training import Checkpoints

    request = (run / "training" / "request.json").exists()
    partial = (run / "training" / ".state.npz.partial").exists()
    saved = (run / "run.json").exists()
    try:
        state = Checkpoints(run).load()
        Checkpoints(run).read_request()
        if saved:
            load(run)
    except Exception as error:  # whatever it is, it is a folder that cannot be read
        return Kill(delay_s, "unreadable", 0, False, f"{type(error).__name__}: {error}")
    if saved and not request:
        return Kill(delay_s, COMPLETE, 0, True)
    if any(path.name != "training" for path in run.iterdir()):
        return Kill(delay_s, "saving the run", 0, True)
    if partial:
        return Kill(delay_s, "writing a checkpoint", 0, True)
    if state is None:
        return Kill(delay_s, PHASES[0], 0, True)
    done, in_stage = len(state[1]["stages"]), state[1]["in_stage"]
    phase = f"in stage {done + 1}" if done < 3 else "after the last stage"
    return Kill(delay_s, phase, len(in_stage["history"]) if in_stage else 0, True)


_LOADING = threading.Lock()  # Keras is not made to load models in several threads


def load(run: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Return the weights of a complete run, and how its training went without the times."""
    from ktransfer import FineTuner

    with _LOADING:
        tuner = FineTuner.load(run, verbose=False)
        weights = [np.array(each) for each in tuner.model.get_weights()]
    assert tuner.result is not None
    stages = [stage.to_dict() for stage in tuner.result.stages]
    kept = ("name", "unfreeze", "cached", "batch_size", "history", "best_epoch", "val_loss")
    went = {
        "stages": [{name: _timeless(stage[name]) for name in kept} for stage in stages],
        "validation": tuner.result.validation.to_dict(),
    }
    return weights, went


def _timeless(value: Any) -> Any:
    if not isinstance(value, tuple | list):
        return value
    return [{key: each for key, each in row.items() if key != "seconds"} for row in value]


def differences(run: Path, reference: Path) -> list[str]:
    """Say what of a run is not as in the reference, bit for bit; empty where all is."""
    (weights, went), (expected, expected_went) = load(run), load(reference)
    found = []
    moved = [
        number
        for number, (one, other) in enumerate(zip(weights, expected, strict=True))
        if one.tobytes() != other.tobytes()
    ]
    if moved:
        largest = max(float(np.abs(weights[at] - expected[at]).max()) for at in moved)
        found.append(f"{len(moved)} of {len(weights)} weights, by up to {largest:.1e}")
    for stage, expected_stage in zip(went["stages"], expected_went["stages"], strict=True):
        found += [
            f"{name} of stage {stage['name']!r}"
            for name in stage
            if stage[name] != expected_stage[name]
        ]
    if went["validation"] != expected_went["validation"]:
        found.append("the score")
    return found


def one_trial(
    number: int, delays_s: list[float], pictures: Path, reference: Path, scratch: Path
) -> Trial:
    """Begin, kill, resume (and kill again), and compare."""
    trial = Trial(number)
    folder = Path(tempfile.mkdtemp(dir=scratch))
    run, cache = folder / "run", folder / "cache"
    try:
        for delay_s in delays_s:
            child = Child(pictures, run, cache, linger=True)
            child.wait_for_request()
            time.sleep(delay_s)
            trial.fault = child.kill()
            trial.kills.append(look(run, delay_s))
            if trial.fault:
                return trial
        trial.fault = Child(pictures, run, cache).end()
        trial.resumed = not trial.fault
        if trial.resumed:
            trial.differences = differences(run, reference)
    except Exception as error:  # one trial must not end the others
        trial.fault = f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(folder)
    return trial


# --- all trials -----------------------------------------------------------------------------------


def uninterrupted(jobs: int, pictures: Path, scratch: Path) -> tuple[Path, float]:
    """As many trainings at once as there are jobs: one of them, and their mean duration.

    They must be equal: else there is nothing to compare with.
    """
    runs = [scratch / f"reference-{number}" for number in range(jobs)]

    def timed(run: Path) -> float:
        child = Child(pictures, run, scratch / f"cache-{run.name}")
        child.wait_for_request()
        started = time.perf_counter()
        assert child.process.stdout is not None
        child.process.stdout.readline()
        seconds = time.perf_counter() - started
        if fault := child.end():
            sys.exit(f"the uninterrupted training failed:\n{fault}")
        return seconds

    with ThreadPoolExecutor(jobs) as pool:
        seconds = list(pool.map(timed, runs))
    for run in runs[1:]:
        if found := differences(run, runs[0]):
            sys.exit(f"two uninterrupted trainings differ: {'; '.join(found)}")
    return runs[0], sum(seconds) / len(seconds)


def draw_delays(kills: int, duration_s: float, seed: int) -> list[list[float]]:
    """Return the moments of the kills of each trial, so many kills in all."""
    generator = random.Random(seed)
    trials: list[list[float]] = []
    while (left := kills - sum(map(len, trials))) > 0:
        number = 1
        while number < left and generator.random() < AGAIN:
            number += 1
        trials.append([generator.uniform(0, LONGEST * duration_s) for _ in range(number)])
    return trials


def counts(trials: list[Trial]) -> dict[str, int]:
    """Say what came of the trials, in numbers."""
    kills = [kill for trial in trials for kill in trial.kills]
    return {
        "trials": len(trials),
        "kills": len(kills),
        "trials resumed to the end": sum(trial.resumed for trial in trials),
        "equal to the uninterrupted result": sum(trial.equal for trial in trials),
        "folders that could not be read": sum(not kill.readable for kill in kills),
    }


def report(trials: list[Trial], duration_s: float, total_s: float) -> str:
    """Return the counts, the kills by phase, and every failure."""
    found = counts(trials)
    phases = Counter(kill.phase for trial in trials for kill in trial.kills)
    moments = [kill.epochs for trial in trials for kill in trial.kills if kill.epochs]
    failed = [trial for trial in trials if not trial.equal]
    lines = [
        table(["count", "number"], [[name, str(number)] for name, number in found.items()]),
        "",
        table(
            ["killed", "kills"],
            [[name, str(phases[name])] for name in dict.fromkeys((*PHASES, *phases))],
        ),
        "",
        f"An uninterrupted training takes {duration_s:.1f} s; all trials took {total_s:.0f} s. "
        f"{len(moments)} kills left the state of a stage between two epochs, after epoch "
        f"{min(moments, default=0)} to {max(moments, default=0)} of it.",
        "",
        *(f"- FAILED: {json.dumps(asdict(trial))}" for trial in failed),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all trials, or train for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, help="begin no trial after so long")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="4 kills")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--pictures", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--linger", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.pictures, arguments.train)
        if arguments.linger:
            time.sleep(PATIENCE_S)
        return
    trials, duration_s, total_s = run_trials(
        4 if arguments.smoke else arguments.kills,
        arguments.jobs,
        arguments.seed,
        arguments.minutes or math.inf,
    )
    body = report(trials, duration_s, total_s)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "kills", body, [asdict(trial) for trial in trials])
    sys.exit(0 if all(trial.equal for trial in trials) and not _unreadable(trials) else 1)


def _unreadable(trials: list[Trial]) -> bool:
    return any(not kill.readable for trial in trials for kill in trial.kills)


def run_trials(
    kills: int, jobs: int, seed: int, minutes: float
) -> tuple[list[Trial], float, float]:
    """Return the trials, and the seconds of an uninterrupted training and of all trials."""
    with tempfile.TemporaryDirectory(prefix="ktransfer-kills-") as name:
        scratch = Path(name)
        pictures = draw_pictures(scratch / "pictures")
        reference, duration_s = uninterrupted(jobs, pictures, scratch)
        started = time.perf_counter()

        def trial(numbered: tuple[int, list[float]]) -> Trial | None:
            if time.perf_counter() - started > 60 * minutes:
                return None
            done = one_trial(*numbered, pictures, reference, scratch)
            print(json.dumps(asdict(done)), file=sys.stderr, flush=True)
            return done

        with ThreadPoolExecutor(jobs) as pool:
            delays = draw_delays(kills, duration_s, seed)
            trials = [done for done in pool.map(trial, enumerate(delays)) if done]
        return trials, duration_s, time.perf_counter() - started


if __name__ == "__main__":
    main()
