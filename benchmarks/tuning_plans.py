"""What each plan of fine-tuning gains over the best head, and whether validation ranks them.

    python benchmarks/tuning_plans.py [--half choosing] [--seeds 2] [--runs FILE] [--minutes M]

Of each set of `regret_sets.py` 300 images are drawn by seed, of which `fit` holds 60 back to
validate on; up to 300 others test, and nothing chooses by them. Every plan starts from the head on
the last features and ends with its last epoch; *refitted* is the widest head, solved anew on the
backbone as the plan tuned it.

- the head: of the last features and of all blocks with the inner ones, the one with the fewer
  mistakes when each training image is left out in turn (`FineTuner.advise`).
- the gain: the test accuracy of what fine-tuning made, tuned or refitted, of which the one with the
  lowest calibrated validation loss is taken, minus that of the head, in points.
- known beforehand: the domain gap, the mistakes of the head, and by how much the widest head has
  fewer of them than the one on the last features.

Each training is appended to --runs as it comes, and what is in there is not measured again; after
--minutes none begins. A set and seed takes about 2 minutes on 2 quiet CPU cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawn_runs import NUM_IMAGES, add_options, runs_asked, task_of
from regret import read_runs
from reporting import in_own_process, results_folder, table, write_results
from scipy.stats import spearmanr

if TYPE_CHECKING:
    from ktransfer import FineTuner, Plan

HEADS = ("last", "widest")
TUNED = ("last 6 at 3e-4", "everything at 5e-4", "everything at 1e-3")
REFITTED = tuple(f"{name}, refitted" for name in TUNED)
#: Each plan before its refitted head, which is solved on what the plan has just tuned.
PLANS = (*HEADS, *(name for pair in zip(TUNED, REFITTED, strict=True) for name in pair))
#: What `FineTuner.advise` calls the heads.
_ADVISED = {"last": "linear_probe", "widest": "all_blocks_and_inner_probe"}
Run = dict[str, Any]
#: The trainings of one set and seed, by plan.
Group = dict[str, Run]


def plan_of(name: str) -> Plan:
    """Return a plan by its name here; a refitted head is one on the widest features."""
    from ktransfer.plan import last_blocks, linear_probe, lp_ft

    makers: dict[str, Callable[[], Plan]] = {
        "last": linear_probe,
        "last 6 at 3e-4": lambda: last_blocks(6, learning_rate=3e-4),
        "everything at 5e-4": lambda: lp_ft(learning_rate=5e-4),
        "everything at 1e-3": lambda: lp_ft(learning_rate=1e-3),
    }
    plan = makers.get(name, lambda: linear_probe(features="all_blocks_and_inner"))()
    stages = [replace(each, keep="end") if each.unfreeze else each for each in plan.stages]
    return replace(plan, stages=tuple(stages))


def measure_run(task: dict[str, Any]) -> int:
    """Carry out the missing plans of one set and seed, as long as there is time; say how many."""
    from ktransfer import FineTuner

    options = {"seed": task["seed"], "verbose": False}
    tuner = FineTuner("MobileNetV2", task["weights"], alpha=0.35, **options)
    advice = tuner.advise(task["table"], fine_tuning="off")
    mistakes = {each.name: each.accuracy for each in advice.candidates if each.accuracy is not None}
    known = {
        "gap": advice.gap.value if advice.gap else None,
        "left_out": {name: mistakes[advised] for name, advised in _ADVISED.items()},
    }
    tuned_by = None
    for done, name in enumerate(task["missing"]):
        if time.time() > task["until"]:
            return done
        plan = name.removesuffix(", refitted")
        started = time.perf_counter()
        if name in REFITTED:
            if tuned_by != plan:  # what is known of the plan was not measured again
                train(tuner, plan, task)
            # A fine-tuner begins with the weights that the backbone has when it is handed over.
            figures = train(FineTuner(tuner.backbone, **options), name, task)
        else:
            figures = train(tuner, name, task)
        tuned_by = plan
        record = {**task["run"], **known, "plan": name, **figures}
        record["seconds"] = time.perf_counter() - started
        with open(task["runs"], "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return len(task["missing"])


def train(tuner: FineTuner, name: str, task: dict[str, Any]) -> Run:
    """Train by a plan; what it gets of the images that are validated and tested on."""
    result = tuner.fit(task["table"], plan=plan_of(name), epochs=task["epochs"], check="off")
    last = result.stages[-1]
    return {
        "test_accuracy": result.test.accuracy,
        "val_accuracy": last.val_accuracy,
        "val_loss": last.val_loss,
        "val_calibrated_loss": last.val_calibrated_loss,
        "kept_epoch": last.best_epoch,
        "epochs": [
            {key: row[key] for key in ("loss", "val_calibrated_loss", "val_accuracy")}
            for row in last.history
            if last.unfreeze
        ],
        "part_sizes": result.part_sizes,
    }


def grouped(runs: Sequence[Run], needed: Sequence[str]) -> list[Group]:
    """Return the trainings of each set and seed of which no needed one is missing."""
    found: dict[tuple[str, int], Group] = {}
    for run in runs:
        found.setdefault((run["set"], run["seed"]), {})[run["plan"]] = run
    return [group for group in found.values() if set(needed) <= set(group)]


def head_of(group: Group) -> str:
    """Return the head with the fewer mistakes of left-out images, of two equals the simpler."""
    left_out = group["last"]["left_out"]
    return max(HEADS, key=lambda name: left_out[name])


def chosen_of(group: Group, names: Sequence[str]) -> str:
    """Return the plan with the lowest calibrated validation loss of those that were carried out."""
    there = [name for name in names if name in group]
    return min(there, key=lambda name: group[name]["val_calibrated_loss"])


def percent(group: Group, name: str) -> float:
    """Return the share of the test images that a plan gets right, in percent."""
    return 100.0 * float(group[name]["test_accuracy"])


def gain_of(group: Group) -> float:
    """By how many points the best of fine-tuning, chosen by validation, is better than the head."""
    return percent(group, chosen_of(group, (*TUNED, *REFITTED))) - percent(group, head_of(group))


def beforehand(group: Group) -> dict[str, float]:
    """Return what can be known before any fine-tuning, in nats and in points."""
    left_out = group["last"]["left_out"]
    return {
        "gap": group["last"]["gap"] or 0.0,
        "mistakes of the head": 100.0 * (1.0 - max(left_out.values())),
        "gain of depth": 100.0 * (left_out["widest"] - left_out["last"]),
    }


def report(runs: Sequence[Run]) -> str:
    """Return the tables: gains, accuracies, what predicts them, whether validation ranks."""
    groups = grouped(runs, (*HEADS, "everything at 5e-4", "everything at 5e-4, refitted"))
    if not groups:
        return "No set and seed is complete.\n"
    parts = [
        f"{len(groups)} draws of {len({group['last']['set'] for group in groups})} sets, "
        f"{NUM_IMAGES} images, MobileNetV2 0.35; accuracies of up to 300 test images, in %.",
        f"## Gain\n\n{_gains(groups)}",
        f"## Test accuracy of each plan\n\n{_accuracies(groups)}",
        f"## What is known beforehand\n\n{_predictors(groups)}",
        f"## Choosing by the calibrated validation loss\n\n{_ranking(groups)}",
    ]
    return "\n\n".join(parts) + "\n"


def _gains(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        run, head = group["last"], head_of(group)
        known = beforehand(group)
        tuned = chosen_of(group, (*TUNED, *REFITTED))
        rows.append(
            [
                f"{run['set']} ({run['half']}), {run['seed']}",
                f"{known['gap']:.3f}",
                f"{known['mistakes of the head']:.1f}",
                f"{known['gain of depth']:+.1f}",
                f"{percent(group, head):.1f} ({head})",
                f"{percent(group, tuned):.1f} ({tuned})",
                f"**{gain_of(group):+.1f}**",
            ]
        )
    header = "set (half), seed|gap|mistakes of the head|gain of depth|head|fine-tuning|gain"
    return table(header.split("|"), rows)


def _accuracies(groups: Sequence[Group]) -> str:
    rows = [
        [
            f"{group['last']['set']}, {group['last']['seed']}",
            *(f"{percent(group, name):.1f}" if name in group else "-" for name in PLANS),
        ]
        for group in groups
    ]
    means = [
        statistics.mean(percent(group, name) for group in groups)
        if all(name in group for group in groups)
        else None
        for name in PLANS
    ]
    rows.append(["mean", *("-" if mean is None else f"**{mean:.1f}**" for mean in means)])
    return table(["set, seed", *PLANS], rows)


def _predictors(groups: Sequence[Group]) -> str:
    gains = [gain_of(group) for group in groups]
    mean, spread = statistics.mean(gains), statistics.pstdev(gains)
    lines = [f"The gain is {mean:+.1f} points in the mean, its deviation {spread:.1f}."]
    if len(groups) > 2:
        rows = []
        for name in beforehand(groups[0]):
            values = [beforehand(group)[name] for group in groups]
            rows.append([name, f"{spearmanr(values, gains).statistic:+.2f}"])
        lines.append(table(["known", "rank correlation with the gain"], rows))
    return "\n\n".join(lines)


def _ranking(groups: Sequence[Group]) -> str:
    """Return what choosing among everything that was tried comes to, by several rules."""
    rules: dict[str, Callable[[Group], str]] = {
        "lowest calibrated validation loss": lambda group: chosen_of(group, PLANS),
        "highest validation accuracy": lambda group: max(
            group, key=lambda name: group[name]["val_accuracy"]
        ),
        "the head, always": head_of,
        "everything at 5e-4, always": lambda group: "everything at 5e-4",
        "everything at 5e-4, refitted, always": lambda group: "everything at 5e-4, refitted",
    }
    rows = []
    for title, rule in rules.items():
        lost = [max(percent(g, name) for name in g) - percent(g, rule(g)) for g in groups]
        below = [percent(g, head_of(g)) - percent(g, rule(g)) for g in groups]
        rows.append(
            [title, f"{statistics.mean(lost):.2f}", f"{max(lost):.1f}", f"{max(below):.1f}"]
        )
    header = "chosen by|behind the best tried, mean|at most|below the head at most"
    return table(header.split("|"), rows)


def measure(arguments: argparse.Namespace, file: Path, scratch: Path) -> None:
    """Carry out every plan on every set and seed that is not in the file yet."""
    until = time.time() + 60 * arguments.minutes
    for run in runs_asked(arguments):
        known = {each["plan"] for each in read_runs(file) if run.items() <= each.items()}
        missing = [each for each in arguments.plans if each not in known]
        if not missing or time.time() > until:
            continue
        own = {"runs": str(file.resolve()), "missing": missing, "until": until}
        task = json.dumps({**task_of(run, arguments, scratch), **own})
        _, seconds = in_own_process(__file__, "--task", task)
        print(f"{run['set']}, seed {run['seed']}: {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    """Measure, report, write; or one set and seed for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser, half="choosing", seeds=2)
    parser.add_argument("--plans", nargs="+", choices=PLANS, default=PLANS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps({"measured": measure_run(arguments.task)}))
        return
    with tempfile.TemporaryDirectory(prefix="ktransfer-plans-") as scratch:
        file = arguments.runs or Path(scratch) / "runs.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        measure(arguments, file, Path(scratch))
        runs = read_runs(file)
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "tuning_plans", report(runs), runs)


if __name__ == "__main__":
    main()
