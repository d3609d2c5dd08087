"""The path that one `fit` takes through the house: what is called, where, and how often twice.

    python benchmarks/path.py [--against COMMIT] [--out FOLDER]

Traces `FineTuner("MobileNetV2", "mini").fit(pictures, plan="auto", out=...)` on 150 generated
pictures of five classes, in all threads of the process, and counts: functions and modules of ours
that are visited, the rooms (entries on the top floor) that these stand in, how often the room
changes from one first visit of a function to the next, how often a plan is resolved, the rule of
the textbook is evaluated, and weights are digested, and the dataclasses of ours of which instances
are made. `--against` does the same with the code of another commit, for a table of both.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from reporting import table, write_results
from same_weights import ROOT, checked_out

NUM_PICTURES = 150
#: The functions that are counted, by their qualified names in any version of ours.
COUNTED = {
    "plans resolved": ("Plan.resolve",),
    "rule of the textbook": ("textbook_rule", "advise", "rule_alone"),
    "passes over weights to digest them": ("_digests",),
}
_OF_RULE = "rule"


class Trace:
    """Counts what is called of a package, in the order of the first visits."""

    def __init__(self, package: Path) -> None:
        self.package = f"{package}{os.sep}"
        self.first: dict[CodeType, str] = {}
        self.calls: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.values: set[str] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """Say what `sys.setprofile` calls."""
        if event != "call":
            return
        code = frame.f_code
        if code.co_name == "__init__" and code.co_filename == "<string>":
            self._note_value(frame)
        elif code.co_filename.startswith(self.package):
            self._note_function(code)

    def _note_value(self, frame: FrameType) -> None:
        """Return a dataclass writes its `__init__` from a string."""
        made = type(frame.f_locals.get("self"))
        if made.__module__.startswith("ktransfer") and dataclasses.is_dataclass(made):
            self.values.add(made.__qualname__)

    def _note_function(self, code: CodeType) -> None:
        module = code.co_filename.removeprefix(self.package).removesuffix(".py")
        if not code.co_name.startswith("<"):  # no module, comprehension or lambda
            self.first.setdefault(code, module)
        for what, names in COUNTED.items():
            rule = what == "rule of the textbook" and not module.endswith(_OF_RULE)
            self.calls[what] += code.co_qualname in names and not rule

    def figures(self) -> dict[str, int]:
        """Return all that is counted."""
        rooms = [module.split(os.sep)[0] for module in self.first.values()]
        changes = sum(one != other for one, other in itertools.pairwise(rooms))
        return {
            "functions": len(self.first),
            "modules": len(set(self.first.values())),
            "rooms": len(set(rooms)),
            "changes of room": changes,
            **self.calls,
            "value types": len(self.values),
        }


def _trace_here(file: Path) -> None:
    import ktransfer
    from ktransfer.demo import draw_flowers

    root = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]).resolve()
    package = Path(ktransfer.__file__).resolve().parent
    assert package.parent == root, f"{package} is not the code in {root}"
    with tempfile.TemporaryDirectory(prefix="path-") as name:
        folder = Path(name)
        draw_flowers(folder / "pictures", NUM_PICTURES)
        finetuner = ktransfer.FineTuner("MobileNetV2", "mini", verbose=False)
        _ = finetuner.backbone
        trace = Trace(package)
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            finetuner.fit(folder / "pictures", plan="auto", out=folder / "run")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    rooms = dict.fromkeys(each.split(os.sep)[0] for each in trace.first.values())
    facts = {
        **trace.figures(),
        "names of rooms": list(rooms),
        "names of values": sorted(trace.values),
    }
    file.write_text(json.dumps(facts, indent=1), encoding="utf-8")


def traced(root: Path) -> dict[str, Any]:
    """Return the figures of the code in a folder, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="path-") as name:
        file = Path(name) / "figures.json"
        own = {"PYTHONPATH": str(root), "KTRANSFER_CACHE": str(Path(name) / "cache")}
        command = [sys.executable, __file__, "--trace-here", file]
        subprocess.run(command, check=True, env={**os.environ, **own})
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found


def report(columns: dict[str, dict[str, Any]]) -> str:
    """Return a table of the counts, a column for each version."""
    rows = [name for name, value in next(iter(columns.values())).items() if isinstance(value, int)]
    cells = [[name, *(str(each[name]) for each in columns.values())] for name in rows]
    return table(["", *columns], cells)


def main() -> None:
    """Trace, print a table, and write it with `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--against", metavar="COMMIT", help="trace the code of this one, too")
    parser.add_argument("--out", type=Path, help="a folder for path.json and path.md")
    parser.add_argument("--trace-here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.trace_here:
        _trace_here(given.trace_here)
        return
    columns = {}
    if given.against:
        with checked_out(given.against) as code:
            columns[given.against] = traced(code)
    columns["now"] = traced(ROOT)
    found = report(columns)
    print(found)
    for name in ("names of rooms", "names of values"):
        print(f"{name}: {', '.join(columns['now'][name])}")
    if given.out:
        write_results(given.out, "path", found, columns)


if __name__ == "__main__":
    main()
