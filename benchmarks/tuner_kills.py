"""Kills of a search at random moments: nothing that was finished is lost or run twice.

    python benchmarks/tuner_kills.py [--kills 50] [--jobs 2] [--seed 0] [--smoke]

A search of 6 trials, their repeats and the last training, of a network of three blocks on 60 drawn
pictures of 24 px, in a process of its own. It is killed with SIGKILL at a moment drawn from 0 to
its usual duration, half of the time together with the process that trains, and resumed; at most 3
times, then it runs to its end. Before and after each resume the finished records are compared byte
by byte; in the end all trials, the choice and the score on the test part with those of a search
that was left alone. The exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kills import SIZE_PX, draw_pictures
from reporting import results_folder, table, write_results

TRIALS, MOST_KILLS_OF_ONE = 6, 3
PATIENCE_S, ORPHANS_S = 900.0, 10.0


# --- in a process of its own ----------------------------------------------------------------------


def three_blocks() -> Any:
    """Convolutions with batch norm, the same random weights each time.

    The residual network of `kills` will not do: with TensorFlow 2.21 and oneDNN on some processors
    its first convolution, 1 x 1 on 3 channels with strides, crashes where a last batch is smaller.
    """
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(7)
    images = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Rescaling(1 / 255)(images)
    for filters in (8, 12, 16):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(images, x, name="three_blocks")


def search(pictures: Path, folder: Path) -> None:
    """Begin a search or go on with it; print what was found."""
    import keras_tuner

    from ktransfer.tuner import UnfreezeTuner

    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", [0, 1, 2])
    space.Choice("learning_rate", [1e-3, 1e-2])
    space.Choice("head_rate", [1e-2, 3e-2])
    space.Fixed("head_epochs", 4)
    for name, value in (("batch_norm", "frozen"), ("augmentation", "none"), ("layer_decay", 1.0)):
        space.Fixed(name, value)
    tuner = UnfreezeTuner(
        three_blocks(),
        None,
        directory=folder,
        hyperparameters=space,
        oracle="random",
        max_trials=TRIALS,
        epochs=3,
        repeats=1,
        verbose=False,
        preprocessing="none",
    )
    found = tuner.search(pictures).to_dict()
    rows = [
        {name: each[name] for name in ("name", "values", "val_accuracy", "status")}
        for each in (*found["trials"], *found["repeats"])
    ]
    same = ("best_plan", "test_accuracy", "chosen")
    print(json.dumps({"rows": rows, **{name: found[name] for name in same}}))


# --- the parent -----------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the kills."""

    kills: int = 0
    searches: int = 0
    finished_at_kill: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def started(pictures: Path, folder: Path, cache: Path) -> subprocess.Popen[str]:
    """Return a search in a process, and in a session, of its own."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, "--search", str(pictures), str(folder)],
        env={**os.environ, "KTRANSFER_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str], wait_s: float) -> dict[str, Any] | None:
    """Say what it found; None if it has not ended yet."""
    try:
        out, err = process.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        return None
    if process.returncode:
        raise RuntimeError(f"the search failed: {err[-2_000:]}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def finished(folder: Path) -> dict[str, bytes]:
    """Return the records that are finished, as they are in their files."""
    records = {}
    for path in (folder / "trials").glob("[!.]*.json"):
        contents = path.read_bytes()
        if json.loads(contents)["status"] != "running":
            records[path.name] = contents
    return records


def alive(session: int) -> list[str]:
    """Return the processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rsplit(")", 1)[1].split()
            if int(words[3]) == session and words[0] != "Z":
                found.append(stat.parent.name)
    return found


def killed(process: subprocess.Popen[str], *, together: bool) -> str:
    """Kill a search; what is left of it after a while, in words."""
    if together:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
    until = time.monotonic() + ORPHANS_S
    while alive(process.pid) and time.monotonic() < until:
        time.sleep(0.2)
    orphans = alive(process.pid)
    return f"processes {orphans} train on" if orphans else ""


def compared(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """Say what has become of the records that were finished."""
    lost = [f"{name} was lost" for name in before if name not in after]
    again = [
        f"{name} was run twice" for name in before if after.get(name, before[name]) != before[name]
    ]
    return lost + again


def differences(whole: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """In what a search differs from the one that was left alone."""
    pairs = zip(whole["rows"], found["rows"], strict=False)
    rows = [f"{one} became {two}" for one, two in pairs if one != two]
    others = [f"{name} differs" for name in whole if name != "rows" and found[name] != whole[name]]
    missing = len(whole["rows"]) - len(found["rows"])
    return rows + others + ([f"{missing} trainings are missing"] if missing else [])


def kill_one(
    pictures: Path, scratch: Path, whole: dict[str, Any], usual_s: float, seed: int, tally: Tally
) -> None:
    """Return one search, killed up to three times and then left to its end."""
    chance, folder = random.Random(seed), scratch / f"search-{seed}"
    cache, kept, faults = scratch / f"cache-{seed}", dict[str, bytes](), list[str]()
    found, kills = None, list[int]()
    while found is None:
        process = started(pictures, folder, cache)
        if len(kills) < MOST_KILLS_OF_ONE:
            found = ended(process, chance.uniform(0, usual_s))
        else:
            found = ended(process, PATIENCE_S)
            if found is None:
                faults.append("it did not end")
                killed(process, together=True)
                break
        if found is None:
            faults += filter(None, [killed(process, together=chance.random() < 0.5)])
            faults += compared(kept, finished(folder))
            kept = finished(folder)
            kills.append(len(kept))
    faults += compared(kept, finished(folder))
    if found is not None:
        faults += differences(whole, found)
    with LOCK:
        tally.kills += len(kills)
        tally.searches += 1
        tally.finished_at_kill += kills
        tally.faults += [f"search {seed}: {each}" for each in faults]
        print(
            f"search {seed}: {len(kills)} kills, {faults or 'as if nothing had happened'}",
            file=sys.stderr,
        )


LOCK = threading.Lock()


def main() -> None:
    """Kill searches until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="3 kills")
    parser.add_argument("--search", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.search:
        search(*arguments.search)
        return
    wanted = 3 if arguments.smoke else arguments.kills
    tally, begun = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        pictures = draw_pictures(scratch / "pictures")
        whole = ended(started(pictures, scratch / "whole", scratch / "cache"), PATIENCE_S)
        usual_s = time.monotonic() - begun
        if whole is None:
            sys.exit("the search that is left alone does not end")

        def work(job: int) -> None:
            seed = arguments.seed + job
            while tally.kills < wanted:
                kill_one(pictures, scratch, whole, usual_s, seed, tally)
                seed += arguments.jobs

        with ThreadPoolExecutor(arguments.jobs) as threads:
            for each in [threads.submit(work, job) for job in range(arguments.jobs)]:
                each.result()
    minutes = (time.monotonic() - begun) / 60
    rows = [
        ["searches", str(tally.searches)],
        ["kills", f"{tally.kills} (asked: {arguments.kills})"],
        ["with no training finished", str(tally.finished_at_kill.count(0))],
        ["with some finished", str(sum(each > 0 for each in tally.finished_at_kill))],
        ["minutes", f"{minutes:.0f}"],
        ["faults", "; ".join(tally.faults) or "none: all resumed, nothing lost or run twice"],
    ]
    write_results(
        results_folder(arguments.out, smoke=arguments.smoke),
        "tuner_kills",
        table(["what", "how many"], rows) + "\n",
        {**vars(tally), "usual_s": usual_s},
    )
    if tally.faults:
        sys.exit(1)


if __name__ == "__main__":
    main()
