"""What trying to fine-tune gains over the head alone: the table by which `fit` expects it.

    python benchmarks/fine_tuning_gain.py [--half both] [--seeds 1] [--runs FILE] [--keep]

Of each set of `regret_sets.py` 300 images are drawn by seed, of which `fit` holds 60 back to
validate on; up to 300 others test, and nothing chooses by them. Each is trained with
`fine_tuning="off"` and with `"on"`: the gain is by how much more of the test images the latter gets
right, what was tried and dropped included. Known before is the domain gap, and how often the head
is wrong about training images that it has not seen.

`--keep` writes the rows of the sets to choose by (`CHOOSING`) to `ktransfer/advisor/gains.json`. On
the others (`REPORTING`) the report says what would have been expected by these, and what came.

Each row is appended to --runs as it comes, and what is in there is not measured again; after
--minutes none begins. A set and seed takes about 2 minutes on 2 quiet CPU cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drawn_runs import NUM_IMAGES, add_options, runs_asked, task_of
from regret import read_runs
from reporting import in_own_process, results_folder, table, write_results

from ktransfer.advisor.gains import Measured, expected_gain
from ktransfer.advisor.trying import TRIED_FROM_GAIN

KEPT = Path(__file__).parents[1] / "ktransfer" / "advisor" / "gains.json"
Run = dict[str, Any]


def measure_run(task: dict[str, Any]) -> Run:
    """Train one draw of a set with and without fine-tuning."""
    from ktransfer import FineTuner

    options = {"alpha": 0.35, "seed": task["seed"], "verbose": False}
    tuner = FineTuner("MobileNetV2", task["weights"], **options)
    asked = {"epochs": task["epochs"], "check": "off"}
    started = time.perf_counter()
    head = tuner.fit(task["table"], fine_tuning="off", **asked)
    between = time.perf_counter()
    tried = tuner.fit(task["table"], fine_tuning="on", **asked)
    ended = time.perf_counter()
    advice = head.advice
    return {
        **task["run"],
        "gap": advice.gap.value if advice.gap else None,
        "mistakes": 1.0 - advice.expected.accuracy,
        "features": advice.plan.features,
        "head": head.test.accuracy,
        "tried": tried.test.accuracy,
        "tests": tried.test.num_images,
        "tries": [each.to_dict() for each in tried.tries],
        "unfrozen": tried.unfrozen,
        "head_s": between - started,
        "tries_s": ended - between,
    }


def as_measured(run: Run) -> Measured:
    """Return a row as the library keeps it."""
    gain = run["tried"] - run["head"]
    return Measured(run["set"], *(round(each, 4) for each in (run["gap"], run["mistakes"], gain)))


def report(runs: Sequence[Run]) -> str:
    """Return the tables of both halves."""
    known = [run for run in runs if run["gap"] is not None]
    chosen = [run for run in known if run["half"] == "choosing"]
    others = [run for run in known if run["half"] != "choosing"]
    rows = [as_measured(run) for run in chosen]
    parts = [
        f"{len(known)} draws of {len({run['set'] for run in known})} sets, {NUM_IMAGES} images "
        "each, MobileNetV2 0.35; accuracies of up to 300 test images, in %. *Expected* are the "
        "mean and one standard deviation by the other sets to choose by."
    ]
    for title, half in (("To choose by", chosen), ("To report", others)):
        if half:
            parts.append(f"## {title}\n\n{_gains(half, rows)}\n\n{_summary(half, rows)}")
    return "\n\n".join(parts) + "\n"


def _expected(run: Run, rows: Sequence[Measured]) -> Any:
    others = [each for each in rows if each.name != run["set"]]
    return expected_gain(run["gap"], run["mistakes"], others)


def _gains(runs: Sequence[Run], rows: Sequence[Measured]) -> str:
    lines = []
    for run in runs:
        expected = _expected(run, rows)
        low, high = (100 * each for each in expected.interval)
        kept = [each for each in run["tries"] if each["outcome"] == "kept"]
        lines.append(
            [
                f"{run['set']}, {run['seed']}",
                f"{run['gap']:.3f}",
                f"{100 * run['mistakes']:.1f}",
                f"{100 * run['head']:.1f}",
                f"{100 * run['tried']:.1f}",
                f"{kept[0]['name']} at {kept[0]['learning_rate']:g}" if kept else "the head",
                f"**{100 * (run['tried'] - run['head']):+.1f}**",
                f"{100 * expected.mean:+.1f} ({low:+.1f} to {high:+.1f})",
                f"{run['tries_s'] / run['head_s']:.1f}",
            ]
        )
    header = "set, seed|gap|mistakes of the head|head|with tries|kept|gain|expected|times as long"
    return table(header.split("|"), lines)


def _summary(runs: Sequence[Run], rows: Sequence[Measured]) -> str:
    gains = [100 * (run["tried"] - run["head"]) for run in runs]
    tried = [_expected(run, rows).interval[1] >= TRIED_FROM_GAIN for run in runs]
    by_rule = [gain if each else 0.0 for gain, each in zip(gains, tried, strict=True)]
    return (
        f"Always tried, the gain is {statistics.mean(gains):+.1f} points in the mean "
        f"({min(gains):+.1f} to {max(gains):+.1f}). Tried only where one standard deviation above "
        f"the expected mean is at least {100 * TRIED_FROM_GAIN:g} points "
        f"({sum(tried)} of {len(runs)}): {statistics.mean(by_rule):+.1f}."
    )


def measure(arguments: argparse.Namespace, file: Path, scratch: Path) -> None:
    """Carry out every set and seed that is not in the file yet."""
    until = time.time() + 60 * arguments.minutes
    for run in runs_asked(arguments):
        done = any(run.items() <= each.items() for each in read_runs(file))
        if done or time.time() > until:
            continue
        task = json.dumps(task_of(run, arguments, scratch))
        found, seconds = in_own_process(__file__, "--task", task)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(found) + "\n")
        print(f"{run['set']}, seed {run['seed']}: {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    """Measure, report, write; or one set and seed for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, half="both", seeds=1)
    parser.add_argument("--keep", action="store_true", help="for the library: gains.json")
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(measure_run(arguments.task)))
        return
    with tempfile.TemporaryDirectory(prefix="ktransfer-gain-") as scratch:
        file = arguments.runs or Path(scratch) / "runs.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        measure(arguments, file, Path(scratch))
        runs = read_runs(file)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "fine_tuning_gain", report(runs), runs)
    if arguments.keep:
        rows = [vars(as_measured(run)) for run in runs if run["half"] == "choosing" and run["gap"]]
        KEPT.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
