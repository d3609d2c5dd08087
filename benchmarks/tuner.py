"""The search against a plain KerasTuner search, its memory, and what its choice is worth.

    python benchmarks/tuner.py [--part speed|whole|memory|choice] [--rounds 2] [--seeds 3] [--smoke]

speed: 12 trials, {0, 2, 4, 6} blocks with 3 learning rates of the head, 10 epochs, ants and bees,
MobileNetV2 1.0. The plain search is KerasTuner's `GridSearch` over the same points: images are
decoded once and held in memory, and every epoch runs the whole network, as in the Keras guide. It
trains the 10 epochs alone; each trial of ours trains its head first. Rounds alternate, each search
in a process of its own with an empty cache; the wall time is that of the process.

whole: our search once more with every trial trained to its end, against the plain one of `speed`:
what the cache does without the median rule.

memory: 40 trials of MobileNetV2 mini on 60 drawn pictures; resident memory of the process that
trains after each trial, and of the one that searches.

choice: for each seed a search of 12 trials over at most 6 blocks, with KerasTuner's Bayesian
oracle, beside a linear probe on the same photos. Ants and bees (MobileNetV2 1.0): the 153 photos of
`val/` are the test part. Flowers (MobileNetV2 0.35): 300 to train, 100 to validate, 550 to test.

Each part keeps its figures in `results/tuner.json`, so that they can be run one by one. About 40
minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lp_ft import draw_flowers, link_photo
from reporting import (
    holds,
    in_own_process,
    results_folder,
    share,
    shared_folder,
    table,
    write_results,
)

PARTS = ("speed", "whole", "memory", "choice")
ANTS_BEES, FLOWERS = "ants_bees", "flowers"
WEIGHTS = {
    ANTS_BEES: "weights/mobilenetv2_1.0_224_notop.weights.h5",
    FLOWERS: "weights/mobilenetv2_0.35_224_notop.weights.h5",
}
OPTIONS: dict[str, dict[str, Any]] = {ANTS_BEES: {}, FLOWERS: {"alpha": 0.35}}
DEPTHS, HEAD_RATES, EPOCHS, RATE = (0, 2, 4, 6), (5e-4, 1e-3, 2e-3), 10, 3e-4
TRIALS, MEMORY_TRIALS, FIRST = 12, 40, 5
TIMES_FASTER, MOST_GROWTH = 3.0, 0.10
Figures = dict[str, Any]


# --- in a process of its own ----------------------------------------------------------------------


def search_plainly(task: Figures) -> Figures:
    """KerasTuner's grid search, the frozen blocks run in every epoch."""
    import keras
    import keras_tuner

    from ktransfer.backbones import load_backbone

    weights, epochs = task["weights"], task["epochs"]
    folder = Path(task["data"])
    # In memory, decoded: what a careful user does.
    train, validation = (
        keras.utils.image_dataset_from_directory(folder / part, image_size=(224, 224)).cache()
        for part in ("train", "val")
    )

    def build(values: Any) -> Any:
        depth = values.Choice("unfreeze", task["depths"])
        rate = values.Choice("head_rate", task["rates"])
        body = keras.applications.MobileNetV2(
            include_top=False, weights=weights, input_shape=(224, 224, 3)
        )
        blocks = load_backbone(body, preprocessing="none").blocks
        trained = [layer for block in blocks[len(blocks) - depth :] for layer in block.layers]
        for layer in body.layers:
            usual = not isinstance(layer, keras.layers.BatchNormalization)
            layer.trainable = usual and any(layer is each for each in trained)
        images = keras.Input((224, 224, 3))
        x = body(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images), training=False)
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(images, keras.layers.Dense(2, activation="softmax")(x))
        optimizer = keras.optimizers.AdamW(rate)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tuner = keras_tuner.GridSearch(build, "val_accuracy", directory=scratch)
        tuner.search(train, validation_data=validation, epochs=epochs, verbose=0)
        trials = [
            {"unfreeze": each.hyperparameters["unfreeze"], "val_accuracy": each.score}
            for each in tuner.oracle.trials.values()
        ]
    return {"trials": trials, "search_s": time.perf_counter() - started}


def search_with_cache(task: Figures) -> Figures:
    """Return the same points by `UnfreezeTuner`."""
    import keras_tuner

    from ktransfer.tuner import UnfreezeTuner

    class Whole(UnfreezeTuner):
        def _curves(self, record: Any) -> tuple[tuple[float, ...], ...]:
            return ()  # nothing for the median rule to compare with

    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", task["depths"])
    space.Choice("head_rate", task["rates"])
    for name, value in (
        ("learning_rate", RATE),
        ("dropout", 0.0),
        ("weight_decay", 0.0),
        ("layer_decay", 1.0),
        ("batch_norm", "frozen"),
        ("augmentation", "none"),
    ):
        space.Fixed(name, value)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        tuner = (Whole if task["whole"] else UnfreezeTuner)(
            "MobileNetV2",
            task["weights"],
            directory=scratch,
            hyperparameters=space,
            max_unfreeze=max(task["depths"]),
            oracle="grid",
            max_trials=len(task["depths"]) * len(task["rates"]),
            epochs=task["epochs"],
            repeats=0,
            verbose=False,
        )
        found = tuner.search(task["data"]).to_dict()
    return {**found, "search_s": time.perf_counter() - started}


def search_small(task: Figures) -> Figures:
    """Many small trials; memory after each."""
    import keras_tuner
    from kills import draw_pictures

    from ktransfer.tuner import UnfreezeTuner

    own = []

    class Watched(UnfreezeTuner):
        def run_trial(self, trial: Any, **options: Any) -> dict[str, float]:
            scores = super().run_trial(trial, **options)
            own.append(resident_mb())
            return scores

    space = keras_tuner.HyperParameters()
    space.Fixed("head_epochs", 5)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = draw_pictures(Path(scratch) / "pictures")
        tuner = Watched(
            "MobileNetV2",
            "mini",
            directory=Path(scratch) / "search",
            hyperparameters=space,
            max_unfreeze=3,
            oracle="random",
            max_trials=task["trials"],
            epochs=2,
            repeats=0,
            verbose=False,
        )
        found = tuner.search(pictures)
        trained = [each.memory_mb for each in found.trials]
        return {"worker_mb": trained, "search_mb": own, "processes": tuner._crew.started}


def resident_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    line = Path("/proc/self/statm").read_text()
    return int(line.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def choose_and_probe(task: Figures) -> Figures:
    """Return a search with its choice, and a linear probe on the same photos."""
    from ktransfer import FineTuner
    from ktransfer.tuner import UnfreezeTuner

    backbone = ("MobileNetV2", task["weights"])
    probe = FineTuner(*backbone, seed=task["seed"], verbose=False, **task["options"])
    fitted = probe.fit(task["data"], plan="linear_probe")
    with tempfile.TemporaryDirectory() as scratch:
        tuner = UnfreezeTuner(
            *backbone,
            directory=scratch,
            max_trials=task["trials"],
            epochs=task["epochs"],
            seed=task["seed"],
            verbose=False,
            **task["options"],
        )
        found = tuner.search(task["data"]).to_dict()
    assert fitted.test is not None
    return {**found, "probe_accuracy": fitted.test.accuracy, "probe_interval": fitted.test.interval}


TASKS: dict[str, Callable[[Figures], Figures]] = {
    each.__name__: each
    for each in (search_plainly, search_with_cache, search_small, choose_and_probe)
}


def run(work: Callable[[Figures], Figures], **task: Any) -> Figures:
    """Return one of these in a process of its own; its wall time is `total_s`."""
    asked = json.dumps({"work": work.__name__, **task})
    figures, total = in_own_process(__file__, "--task", asked)
    print(work.__name__, f"{total:.0f} s", file=sys.stderr)
    return {"task": task, **figures, "total_s": total}


# --- the parts ------------------------------------------------------------------------------------


def measure_speed(shared: Path, *, smoke: bool, rounds: int, seeds: int) -> list[Figures]:
    """Round of both searches, one after the other."""
    with ants_and_bees(shared, smoke=smoke) as task:
        return [
            {
                "plain": run(search_plainly, **task),
                "cached": run(search_with_cache, whole=False, **task),
            }
            for _ in range(rounds)
        ]


def measure_whole(shared: Path, *, smoke: bool, rounds: int, seeds: int) -> Figures:
    """Our search with every trial to its end."""
    with ants_and_bees(shared, smoke=smoke) as task:
        return run(search_with_cache, whole=True, **task)


@contextlib.contextmanager
def ants_and_bees(shared: Path, *, smoke: bool) -> Iterator[Figures]:
    """Return the photos, in parts, and the points of the grid."""
    with tempfile.TemporaryDirectory() as scratch:
        for part, source in (("train", "train"), ("val", "val"), ("test", "val")):
            link(shared / "data" / ANTS_BEES / source, Path(scratch) / part)
        yield {
            "data": scratch,
            "weights": str(shared / WEIGHTS[ANTS_BEES]),
            "depths": DEPTHS[:2] if smoke else DEPTHS,
            "rates": HEAD_RATES[:1] if smoke else HEAD_RATES,
            "epochs": 1 if smoke else EPOCHS,
        }


def measure_memory(shared: Path, *, smoke: bool, rounds: int, seeds: int) -> Figures:
    """Many small trials."""
    return run(search_small, trials=FIRST + 1 if smoke else MEMORY_TRIALS)


def measure_choice(shared: Path, *, smoke: bool, rounds: int, seeds: int) -> list[Figures]:
    """Group searches and probes by data set and seed."""
    found = []
    for data in (FLOWERS,) if smoke else (ANTS_BEES, FLOWERS):
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                if data == FLOWERS:
                    draw_flowers(shared, folder, seed, *((40, 20) if smoke else (300, 100)))
                else:
                    link(shared / "data" / data / "train", folder / "train")
                    link(shared / "data" / data / "val", folder / "test")
                task = {"weights": str(shared / WEIGHTS[data]), "options": OPTIONS[data]}
                size = {"trials": 5 if smoke else TRIALS, "epochs": 1 if smoke else EPOCHS}
                figures = run(choose_and_probe, data=scratch, seed=seed, **task, **size)
                found.append({**figures, "data": data, "seed": seed})
    return found


def link(source: Path, target: Path) -> None:
    """Link to the photos of class folders."""
    for photo in sorted(source.glob("*/*")):
        link_photo(photo, target)


MEASURES: dict[str, Callable[..., Any]] = {
    "speed": measure_speed,
    "whole": measure_whole,
    "memory": measure_memory,
    "choice": measure_choice,
}


# --- reports --------------------------------------------------------------------------------------


def speed_report(rounds: list[Figures]) -> str:
    """Wall times, and how many times as long the plain search takes."""
    rows = [
        [str(number), f"{each['plain']['total_s']:.0f}", *_search_row(**each)]
        for number, each in enumerate(rounds, start=1)
    ]
    ratios = [each["plain"]["total_s"] / each["cached"]["total_s"] for each in rounds]
    header = "round|plain, s|ktransfer, s|times as fast|s a trial by depth|trials to the end"
    return (
        f"{table(header.split('|'), rows)}\n\nThe slowest round is {min(ratios):.2f} times as fast "
        f"(asked: {TIMES_FASTER:g}){holds(min(ratios) >= TIMES_FASTER)}. Ours has a head stage "
        "before each trial, and trains and tests the chosen plan once more.\n"
    )


def _search_row(plain: Figures, cached: Figures) -> list[str]:
    by_depth = [
        f"{statistics.mean(t['seconds'] for t in cached['trials'] if t['unfreeze'] == depth):.1f}"
        for depth in sorted({t["unfreeze"] for t in cached["trials"]})
    ]
    return [
        f"{cached['total_s']:.0f}",
        f"{plain['total_s'] / cached['total_s']:.2f}",
        " / ".join(by_depth),
        str(sum(t["status"] == "done" for t in cached["trials"])),
    ]


def whole_report(found: Figures, speed: list[Figures]) -> str:
    """Our search without early ends, against the plain one."""
    header = "ktransfer, s|times as fast|s a trial by depth|trials to the end"
    return table(header.split("|"), [_search_row(speed[-1]["plain"], found)]) + "\n"


def memory_report(found: Figures) -> str:
    """Memory after a few trials and after many."""
    rows = []
    for name, label in (("worker_mb", "that trains"), ("search_mb", "that searches")):
        early, late = found[name][FIRST - 1], found[name][-1]
        rows.append([label, f"{early:.0f}", f"{late:.0f}", f"{late / early - 1:+.1%}"])
    growth = max(
        found[name][-1] / found[name][FIRST - 1] - 1 for name in ("worker_mb", "search_mb")
    )
    header = f"process|MB after {FIRST} trials|after {len(found['worker_mb'])}|growth"
    return (
        f"{table(header.split('|'), rows)}\n\nAsked: within {MOST_GROWTH:.0%}"
        f"{holds(growth <= MOST_GROWTH)}. Highest after any trial: that trains "
        f"{max(found['worker_mb']):.0f} MB; {found['processes']} processes trained, one after the "
        "other.\n"
    )


def choice_report(runs: list[Figures]) -> str:
    """Return the chosen plan and the linear probe on the test part."""
    rows, lines = [], []
    for each in runs:
        rows.append(
            [
                each["data"],
                str(each["seed"]),
                str(each["part_sizes"]["test"]),
                str(each["chosen"]["unfreeze"]),
                share(each["probe_accuracy"], each["probe_interval"]),
                share(each["test_accuracy"], each["test_interval"]),
                f"{each['total_s']:.0f}",
            ]
        )
    for data in dict.fromkeys(each["data"] for each in runs):
        gains = [
            each["test_accuracy"] - each["probe_accuracy"] for each in runs if each["data"] == data
        ]
        lines.append(
            f"- {data}: chosen against probe {statistics.mean(gains):+.4f} in the mean of "
            f"{len(gains)} seeds ({min(gains):+.4f} to {max(gains):+.4f}; asked: at least 0)"
            f"{holds(statistics.mean(gains) >= 0)}"
        )
    header = "photos|seed|test photos|blocks chosen|linear probe|chosen plan|s"
    return "\n".join([table(header.split("|"), rows), "", *lines]) + "\n"


REPORTS: dict[str, tuple[str, Callable[..., str]]] = {
    "speed": ("## Against a plain search", speed_report),
    "whole": ("## The same with every trial trained to its end", whole_report),
    "memory": ("## Memory", memory_report),
    "choice": ("## The chosen plan on photos that the search did not see", choice_report),
}


def main() -> None:
    """Run the parts, or one task for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3, help="of choice")
    parser.add_argument("--rounds", type=int, default=2, help="of speed")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help="few and short trials")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        task = arguments.task
        print(json.dumps(TASKS[task.pop("work")](task)))
        return
    smoke = arguments.smoke
    folder = results_folder(arguments.out, smoke=smoke)
    kept = folder / "tuner.json"
    found = json.loads(kept.read_text())["measurements"] if kept.is_file() else {}
    often = {"rounds": 1 if smoke else arguments.rounds, "seeds": 1 if smoke else arguments.seeds}
    for part in arguments.part or PARTS:
        found[part] = MEASURES[part](shared_folder(), smoke=smoke, **often)
    sections = [
        f"{title}\n\n{report(found[part], *([found['speed']] if part == 'whole' else []))}"
        for part, (title, report) in REPORTS.items()
        if part in found
    ]
    write_results(folder, "tuner", "\n".join(sections), found)


if __name__ == "__main__":
    main()
