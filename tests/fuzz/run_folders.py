"""Load thousands of damaged runs, model files and other files of ours: errors, no crash, no hang.

    python tests/fuzz/run_folders.py --cases 10000

Each case is made from its number and the seed alone, so that `--first N --cases 1` does one again.
Loading happens in worker processes: one that dies or takes too long is a fault, and the next goes
on behind it. The exit status is 1 if there was any fault.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

LIMIT_S, START_LIMIT_S = 30.0, 180.0
# Keras keeps a little of every network that it made.
CASES_PER_WORKER = 1_500


_MAKE = "import sys, pathlib, cases; cases.make_base(pathlib.Path(sys.argv[1]))"


def environment() -> dict[str, str]:
    """For the workers: where the library and the tests lie."""
    here = Path(__file__).resolve().parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent, ROOT)))}


def worker(folder: Path, first: int, last: int, seed: int) -> None:
    """Do the cases, and print a line before and after each."""
    from cases import attempt, read_base

    base = read_base(folder)
    for number in range(first, last):
        print(json.dumps([number]), flush=True)
        started = time.perf_counter()
        found = attempt(base, number, seed)
        took = time.perf_counter() - started
        print(json.dumps([number, *found, round(took, 4)]), flush=True)
        if number % 50 == 0:
            import keras

            keras.backend.clear_session(free_memory=False)


def run_worker(
    folder: Path, first: int, last: int, seed: int, until: float, log: Any
) -> list[list[Any]]:
    """The rows of as many cases as one worker came to; the last may be of one that ended it.

    It is stopped between two cases when the clock says `until`.
    """
    words = ["--worker", str(folder), "--first", str(first), "--cases", str(last - first)]
    command = [sys.executable, __file__, *words, "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=environment())
    assert process.stdout
    rows: list[list[Any]] = []
    current, limit = None, START_LIMIT_S
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        hung = False
        while True:
            if not waiting.select(limit):
                hung = True
                process.kill()
                break
            line = process.stdout.readline()
            if not line:
                break
            said = json.loads(line)
            current, limit = said[0], LIMIT_S
            if len(said) > 1:
                rows.append(said)
                if said[2] == "fault" or len(rows) % 250 == 0:
                    print(*said[:4], file=sys.stderr, flush=True)
                # Not waited for: TensorFlow may take long to end.
                if time.monotonic() > until or said[0] == last - 1:
                    process.kill()
                    process.wait()
                    return rows
    status = process.wait()
    if hung:
        rows.append([current, "", "fault", f"hung for over {LIMIT_S:.0f} s", LIMIT_S])
    elif status:
        name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        rows.append([current, "", "fault", f"the process died: {name}", 0.0])
    return rows


def all_rows(
    folder: Path, first: int, cases: int, seed: int, jobs: int, minutes: float
) -> list[list[Any]]:
    """The row of every case that there was time for: number, kind, outcome, fault, seconds."""
    from concurrent.futures import ThreadPoolExecutor

    until = time.monotonic() + 60 * minutes

    def share(at: int) -> list[list[Any]]:
        begin = first + cases * at // jobs
        end = first + cases * (at + 1) // jobs
        rows: list[list[Any]] = []
        with (folder / f"log-{at}.txt").open("ab") as log:
            while begin < end and time.monotonic() < until:
                last = min(end, begin + CASES_PER_WORKER)
                found = run_worker(folder, begin, last, seed, until, log)
                if not found or found[-1][0] is None:
                    sys.exit(f"no worker starts: see {folder}/log-{at}.txt")
                rows += found
                begin = found[-1][0] + 1
        return rows

    with ThreadPoolExecutor(jobs) as pool:
        return [row for rows in pool.map(share, range(jobs)) for row in rows]


def report(rows: list[list[Any]], asked: int, seconds: float) -> tuple[str, dict[str, Any]]:
    """Figures of all cases, as Markdown and as plain data."""
    from reporting import table

    counted = Counter((row[1], row[2]) for row in rows)
    outcomes = sorted({outcome for _, outcome in counted})
    kinds = sorted({kind for kind, _ in counted})
    body = [
        [kind or "(fault)", *(f"{counted[kind, each]:,}" for each in outcomes)] for kind in kinds
    ]
    faults = [row for row in rows if row[2] == "fault"]
    took = sorted(row[4] for row in rows)
    text = (
        f"{len(rows):,} damaged files and folders were loaded, {len(faults)} faults"
        f"{'' if len(rows) == asked else f' ({asked:,} were asked for; the time was up)'}. "
        "A fault is any other error than `RunError` (`InputError` for weights and plans that the "
        "user gives), a crash, a hang of over "
        f"{LIMIT_S:.0f} s, or a run with an unchanged checksum that predicts otherwise.\n\n"
        f"{table(['what was damaged', *outcomes], body)}\n\n"
        f"Median {took[len(took) // 2] * 1_000:.0f} ms a case, longest {took[-1]:.2f} s; "
        f"{seconds:,.0f} s in all.\n"
    )
    data = {
        "cases": len(rows),
        "seconds": round(seconds, 1),
        "longest_s": took[-1],
        "median_s": took[len(took) // 2],
        "counts": [[*key, count] for key, count in sorted(counted.items())],
        "faults": faults[:200],
    }
    return text, data


def main() -> int:
    """Parse the command line, run, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--out", type=Path, help="folder for the figures: fuzz.md and fuzz.json")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.first, options.first + options.cases, options.seed)
        return 0
    with tempfile.TemporaryDirectory(prefix="ktransfer-fuzz-") as folder:
        os.environ["KTRANSFER_CACHE"] = str(Path(folder) / "cache")
        make = [sys.executable, "-c", _MAKE, folder]
        subprocess.run(make, check=True, env=environment())
        started = time.perf_counter()
        which = (options.first, options.cases, options.seed, options.jobs, options.minutes)
        rows = all_rows(Path(folder), *which)
        text, data = report(rows, options.cases, time.perf_counter() - started)
    for row in data["faults"]:
        print("fault:", row, file=sys.stderr)
    if options.out:
        from reporting import write_results

        write_results(options.out, "fuzz", text, data)
    else:
        print(text)
    return 1 if data["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
