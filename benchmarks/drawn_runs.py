"""What `fine_tuning_gain.py` and `tuning_plans.py` ask for alike: draws of images of many sets."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regret import WEIGHTS
from regret_sets import CHOOSING, REPORTING, draw, half_of, read_set, write_digits, write_set
from reporting import shared_folder

NUM_IMAGES = 300
_SMOKE_IMAGES, _SMOKE_POOL, _SMOKE_EPOCHS = 50, 90, 2


def add_options(parser: argparse.ArgumentParser, *, half: str, seeds: int) -> None:
    """Add the options of both scripts, with their defaults."""
    halves = ["choosing", "reporting", "both"]
    parser.add_argument("--half", choices=halves, default=half)
    parser.add_argument("--sets", nargs="+", help="names of `regret_sets.py`")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--runs", type=Path, help="JSON lines; what is in there is not run again")
    parser.add_argument("--scratch", type=Path, help="where sets are made, or lie already")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end in time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--smoke", action="store_true", help='few digits, weights "mini"')
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)


def runs_asked(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield each set and seed that is asked for, all sets with the first seed first."""
    halves = {"choosing": CHOOSING, "reporting": REPORTING, "both": (*CHOOSING, *REPORTING)}
    names = ["digits"] if arguments.smoke else arguments.sets or halves[arguments.half]
    for seed in range(arguments.seeds):
        for name in names:
            yield {"set": name, "half": half_of(name), "seed": seed}


def task_of(run: dict[str, Any], arguments: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Draw the images of a run; return what its process is told."""
    smoke, name, seed = arguments.smoke, run["set"], run["seed"]
    if smoke:
        folder = write_digits(scratch / name, _SMOKE_POOL)
    else:
        folder = write_set(name, shared_folder(), arguments.scratch or scratch)
    number = _SMOKE_IMAGES if smoke else NUM_IMAGES
    return {
        "run": run,
        "seed": seed,
        "table": str(draw(read_set(folder), number, seed, scratch / "drawn.csv")),
        "epochs": _SMOKE_EPOCHS if smoke else None,
        "weights": "mini" if smoke else str(shared_folder() / WEIGHTS),
    }
