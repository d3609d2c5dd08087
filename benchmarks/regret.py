"""What the advisor's choice costs: every strategy tried, and how far off the chosen one is.

    python benchmarks/regret.py [--data DIR...] [--tune] [--seeds 3] [--runs FILE] [--minutes M]

Of each set 60, 300 and all images are drawn by seed, with the classes in their proportions; `fit`
gets these and holds 20 % of them back to validate on. Up to 300 others, of `test/` or `val/` where
there is one, are the test part, which nothing chooses by. The heads read the last features, those
of all blocks, those and the inner ones, or the end of the first two thirds of the blocks (the
textbook's). `--tune` adds fine-tuning from 100 images on, by the plans of `plans` and by the
textbook's rule with the measured domain gap: each from the head on the last features, also without
flips, and *refitted*: the widest head, solved anew on the backbone as that plan has tuned it. The
regret of a strategy in a run is the test accuracy of the best of all that were tried, the advisor's
own result included, minus its own: it is never below 0.

Without --data: the sets of `regret_sets.py`, one half of which is to choose by and the other to
report; `--half` takes one of them, `--sets` those that it names.

Every set, size and seed has a process of its own, in which all strategies share a cache. What
deciding takes is measured with an empty cache, as is the plain extraction beside it: the decoding
and the forward pass of a linear probe. Each strategy's figures are appended to --runs as soon as
they are known, and what is in there is not measured again: a benchmark that was stopped goes on.
After `--minutes` no further training begins; the report is of the runs that are complete.

A kill costs the strategy that was running. Of heads alone, 60 and 300 images, it takes about an
hour on 2 CPU cores; `--tune` takes hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regret_report import (
    ADVISOR,
    ADVISOR_HEADS,
    EXTRACTION,
    HEADS,
    REFITTED,
    TEXTBOOK,
    TEXTBOOK_HEADS,
    TUNED,
    report,
)
from reporting import in_own_process, results_folder, shared_folder, write_results

if TYPE_CHECKING:
    from ktransfer import FineTuner, Plan

#: How the advisor is asked for its choice: of heads only, and of everything.
ASKED: dict[str, dict[str, Any]] = {ADVISOR_HEADS: {"fine_tuning": "off"}, ADVISOR: {}}
#: With fewer images only heads are compared.
TUNED_FROM = 100
WEIGHTS = "weights/mobilenetv2_0.35_224_notop.weights.h5"
NOT_WORK = ("check", "score")
Run = dict[str, Any]


def plans(tuner: FineTuner, num_classes: int, names: list[str]) -> dict[str, Plan]:
    """Return the fixed strategies, by name."""
    from ktransfer.advisor import plan_for
    from ktransfer.plan import full_fine_tune, last_blocks, linear_probe, lp_ft

    makers = {
        "last": linear_probe,
        "all blocks": lambda: linear_probe(features="all_blocks"),
        "all blocks and inner": lambda: linear_probe(features="all_blocks_and_inner"),
        "earlier": lambda: plan_for(tuner.textbook_rule(60, num_classes, "different")),
        "last 6 at 1e-4": lambda: last_blocks(6, learning_rate=1e-4),
        "last 6 at 3e-4": lambda: last_blocks(6, learning_rate=3e-4),
        "everything at 1e-4": lambda: lp_ft(learning_rate=1e-4),
        "everything at 5e-4": lambda: lp_ft(learning_rate=5e-4),
        "everything at 1e-3": lambda: lp_ft(learning_rate=1e-3),
        "everything at 5e-4, no flips": lambda: without_flips(lp_ft(learning_rate=5e-4)),
        "full_fine_tune": full_fine_tune,
    }
    return {name: makers[name]() for name in names if name in makers}


def without_flips(plan: Plan) -> Plan:
    """Return a plan whose stages show every image as it is."""
    stages = (dataclasses.replace(stage, augmentation="none") for stage in plan.stages)
    return dataclasses.replace(plan, stages=tuple(stages))


class Measuring:
    """All strategies on one draw.

    Args:
        task: what `main` asks for, plain data.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        from ktransfer import FineTuner
        from ktransfer.data import read_data

        self.task, self.epochs = task, task["epochs"]
        self.splits = read_data(task["table"], seed=task["seed"])
        backbone, weights = task["backbone"], task["weights"]
        if backbone.endswith(".keras"):
            import keras

            # A network of one's own has its weights already: the default says so.
            backbone, weights = keras.models.load_model(backbone, compile=False), "imagenet"
        self.tuner = FineTuner(
            backbone, weights, seed=task["seed"], verbose=False, **task["options"]
        )
        #: The plan that the backbone's weights are the work of.
        self.tuned_by: str | None = None

    def run(self) -> int:
        """Measure what is missing, in order, until there is no time left; how much was measured."""
        names = self.task["missing"]
        fixed = plans(self.tuner, len(self.splits.class_names), names)
        others = {
            TEXTBOOK_HEADS: self.textbook_heads,
            TEXTBOOK: self.textbook,
            EXTRACTION: self.extraction,
            ADVISOR_HEADS: lambda: self.advisor(ASKED[ADVISOR_HEADS]),
            ADVISOR: lambda: self.advisor(ASKED[ADVISOR]),
        }
        for done, name in enumerate(names):
            if time.time() > self.task["until"]:
                return done
            if name in fixed:
                figures = self.fit(fixed[name])
                self.tuned_by = name
            elif name in REFITTED:
                figures = self.refit(REFITTED[name])
            else:
                figures = others[name]()
                self.tuned_by = None
            record = {**self.task["run"], "strategy": name, **figures}
            with open(self.task["runs"], "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        return len(names)

    def refit(self, name: str) -> Run:
        """Solve the widest head anew on the backbone as a plan has tuned it; its own seconds."""
        from ktransfer import FineTuner
        from ktransfer.plan import linear_probe

        if self.tuned_by != name:  # what was known of the plan was not measured again
            self.fit(plans(self.tuner, len(self.splits.class_names), [name])[name])
            self.tuned_by = name
        # A fine-tuner begins with the weights that the backbone has when it is handed over.
        refitting = FineTuner(self.tuner.backbone, seed=self.task["seed"], verbose=False)
        return self.fit(linear_probe(features="all_blocks_and_inner"), refitting)

    def fit(self, plan: Plan | str, tuner: FineTuner | None = None, **options: Any) -> Run:
        """Train, and test on what nothing chose by."""
        result = (tuner or self.tuner).fit(
            self.task["table"], plan=plan, epochs=self.epochs, check="off", **options
        )
        work = {name: took for name, took in result.seconds.items() if name not in NOT_WORK}
        return {
            "test_accuracy": result.test.accuracy,
            "val_accuracy": result.val_accuracy,
            "part_sizes": result.part_sizes,
            "carried_out": _in_words(result.plan),
            "stages": [(stage.name, stage.val_accuracy) for stage in result.stages],
            "seconds": sum(work.values()),
            "seconds_of_extraction": result.seconds["decode_and_extract"],
        }

    def textbook_heads(self) -> Run:
        """Say which head the measured gap asks for.

        Where it cannot be measured, images are similar.
        """
        from ktransfer.errors import InputError
        from ktransfer.profile import measure_gap

        try:
            gap = measure_gap(self.tuner.backbone, self.splits.train, seed=self.task["seed"])
        except InputError as error:
            return {"chosen": "last", "gap": None, "why": str(error)}
        return {"chosen": "last" if gap.similar else "earlier", "gap": gap.value}

    def textbook(self) -> Run:
        """Return the 2x2 rule with the measured gap."""
        from ktransfer.advisor import plan_for

        similarity = "similar" if self.textbook_heads()["chosen"] == "last" else "different"
        classes = len(self.splits.class_names)
        advice = self.tuner.textbook_rule(len(self.splits.train), classes, similarity)
        return {**self.fit(plan_for(advice)), "chosen": advice.strategy}

    def extraction(self) -> Run:
        """Decode the images and run the backbone over them once, nothing of it cached."""
        with empty_cache():
            return {"seconds": self.fit("linear_probe")["seconds_of_extraction"]}

    def advisor(self, asked: dict[str, Any]) -> Run:
        """Say what it decides and how long that takes; what comes of it and how long that takes."""
        with empty_cache():
            started = time.perf_counter()
            advice = self.tuner.advise(self.task["table"], **asked)
            deciding = time.perf_counter() - started
        with empty_cache():
            found = self.fit("auto", **asked)
        return {
            **found,
            "seconds_of_deciding": deciding,
            "chosen": advice.strategy,
            "candidates": [(each.name, each.accuracy, each.interval) for each in advice.candidates],
            "gap": advice.gap and advice.gap.value,
        }


def _in_words(plan: Plan) -> str:
    tuned = "".join(
        f", {stage.name} at {stage.learning_rate:g}" for stage in plan.stages if stage.unfreeze
    )
    return f"{plan.name}, {plan.features} of {plan.num_blocks} blocks{tuned}"


@contextmanager
def empty_cache() -> Iterator[None]:
    """Another cache for the library, with nothing in it."""
    before = os.environ["KTRANSFER_CACHE"]
    with tempfile.TemporaryDirectory(prefix="ktransfer-cache-") as folder:
        os.environ["KTRANSFER_CACHE"] = folder
        try:
            yield
        finally:
            os.environ["KTRANSFER_CACHE"] = before


def read_runs(file: Path) -> list[Run]:
    """Say what is known already; the last line may have been cut off by a kill."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("}\n")]
    if len(whole) < len(lines):
        file.write_text("".join(whole), encoding="utf-8")
    return [json.loads(line) for line in whole]


def folders(arguments: argparse.Namespace, scratch: Path) -> Iterator[Path]:
    """Yield the sets that were asked for, or all of both halves."""
    from regret_sets import CHOOSING, REPORTING, write_digits, write_set

    halves = {"choosing": CHOOSING, "reporting": REPORTING, "both": (*CHOOSING, *REPORTING)}
    if arguments.data:
        yield from arguments.data
    elif arguments.smoke:
        yield write_digits(scratch / "digits", 90)
    else:
        for name in arguments.sets or halves[arguments.half]:
            yield write_set(name, shared_folder(), scratch)


def measure(arguments: argparse.Namespace, file: Path, scratch: Path) -> None:
    """Return every set, size and seed that is not in the file yet, as far as the time allows."""
    from regret_sets import draw, half_of, read_set, sizes_of

    until = time.time() + 60 * arguments.minutes
    heads = [*HEADS, TEXTBOOK_HEADS, EXTRACTION, ADVISOR_HEADS]
    tuned_from = 40 if arguments.smoke else TUNED_FROM
    sets = [read_set(folder) for folder in folders(arguments, scratch)]
    sizes = (30, 50) if arguments.smoke else [_number(each) for each in arguments.sizes]
    for seed in range(arguments.seeds):
        for images in sets:
            for asked, drawn in sizes_of(images, sizes):
                run = {"backbone": title(arguments), "set": images.name, "asked": asked}
                run |= {"drawn": drawn, "seed": seed, "half": half_of(images.name)}
                tune = arguments.tune and drawn >= tuned_from
                names = [*heads, *((*TUNED, TEXTBOOK, ADVISOR) if tune else ())]
                known = {
                    each["strategy"] for each in read_runs(file) if run.items() <= each.items()
                }
                missing = [name for name in names if name not in known]
                if not missing or time.time() > until:
                    continue
                task = {
                    "run": run,
                    "table": str(draw(images, drawn, seed, scratch / "drawn.csv")),
                    "runs": str(file.resolve()),
                    "missing": missing,
                    "seed": seed,
                    "until": until,
                    "epochs": 2 if arguments.smoke else None,
                    "backbone": arguments.backbone,
                    "weights": weights(arguments),
                    "options": {"alpha": arguments.alpha} if arguments.alpha else {},
                }
                _, seconds = in_own_process(__file__, "--task", json.dumps(task))
                print(
                    f"{images.name}, {drawn} images, seed {seed}: {seconds:.0f} s", file=sys.stderr
                )


def title(arguments: argparse.Namespace) -> str:
    """Return the backbone in words: its runs are told from those of others by it."""
    size = f" {arguments.alpha}" if arguments.alpha else ""
    if arguments.backbone.endswith(".keras"):
        return Path(arguments.backbone).stem
    return f"{arguments.backbone}{size}, {Path(weights(arguments)).name.split('.weights')[0]}"


def weights(arguments: argparse.Namespace) -> str:
    """Say what the backbone is loaded with."""
    if arguments.smoke:
        return "mini"
    return str(arguments.weights or shared_folder() / WEIGHTS)


def _number(size: str) -> int | None:
    return None if size == "all" else int(size)


def parse() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", help="folders with class folders inside")
    parser.add_argument("--half", choices=["choosing", "reporting", "both"], default="both")
    parser.add_argument("--sets", nargs="+", help="names of `regret_sets.py`")
    parser.add_argument("--sizes", nargs="+", default=["60", "300", "all"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune", action="store_true", help="fine-tune as well: hours")
    parser.add_argument("--runs", type=Path, help="JSON lines; what is in there is not run again")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end in time")
    parser.add_argument("--backbone", default="MobileNetV2", help="a name, or a .keras file")
    parser.add_argument("--weights", help="default: MobileNetV2 0.35 of KTRANSFER_SHARED")
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help='few digits, weights "mini"')
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.backbone == "MobileNetV2" and not arguments.weights and not arguments.smoke:
        arguments.alpha = 0.35
    return arguments


def main() -> None:
    """Measure, report, write; or one run for the parent process."""
    arguments = parse()
    if arguments.task:
        print(json.dumps({"measured": Measuring(arguments.task).run()}))
        return
    with tempfile.TemporaryDirectory(prefix="ktransfer-regret-") as scratch:
        file = arguments.runs or Path(scratch) / "runs.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        measure(arguments, file, Path(scratch))
        runs = [each for each in read_runs(file) if each["backbone"] == title(arguments)]
    folder = results_folder(arguments.out, smoke=arguments.smoke)
    write_results(folder, "regret", report(runs), runs)


if __name__ == "__main__":
    main()
