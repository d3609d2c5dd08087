"""What the benchmarks share: the real photos, tables, results with their circumstances."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn")


def shared_folder() -> Path:
    """Return the folder of real photos and weights: `KTRANSFER_SHARED` or `../shared`."""
    default = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KTRANSFER_SHARED", default))
    if not (folder / "data").is_dir():
        sys.exit(f"no photos at {folder}: set KTRANSFER_SHARED (see CONTRIBUTING.md)")
    return folder


def results_folder(out: Path | None, *, smoke: bool) -> Path:
    """Say where results go: as the user says, else `benchmarks/results`.

    Not there in a smoke test.
    """
    if out is None and smoke:
        return Path(tempfile.mkdtemp(prefix="ktransfer-smoke-"))
    return out or Path(__file__).with_name("results")


def in_own_process(script: str, *arguments: object) -> tuple[dict[str, Any], float]:
    """Run a script in a fresh interpreter, with an empty cache of the library.

    What an earlier run left in the cache would make the measured one unfairly fast.

    Args:
        script: a file; it prints its figures as one line of JSON, the last.
        *arguments: of its command line.

    Returns:
        The figures, and the wall time of the whole process in seconds.
    """
    command = [sys.executable, script, *map(str, arguments)]
    with tempfile.TemporaryDirectory(prefix="ktransfer-cache-") as cache:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KTRANSFER_CACHE": cache}
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4_000:]}")
    return json.loads(done.stdout.splitlines()[-1]), seconds


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def share(accuracy: float, interval: tuple[float, float]) -> str:
    """Return an accuracy and its interval, as shares."""
    return f"{accuracy:.4f} ({interval[0]:.3f} to {interval[1]:.3f})"


def holds(reached: bool) -> str:
    """Say what stands behind a figure that is asked for."""
    return ": holds" if reached else ": DOES NOT HOLD"


def write_results(folder: Path, name: str, body: str, data: Any) -> None:
    """Write `name.md` and `name.json` with the command, versions, machine and date, and print them.

    Args:
        folder: made if it does not exist.
        name: of the benchmark.
        body: Markdown.
        data: the single measurements, plain data.
    """
    circumstances = {
        "command": " ".join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "versions": {
            "python": platform.python_version(),
            **{each: importlib.metadata.version(each) for each in PACKAGES},
        },
    }
    versions = ", ".join(f"{key} {value}" for key, value in circumstances["versions"].items())
    text = (
        f"# {name}\n\n{body}\n"
        f"Command: `{circumstances['command']}`; {circumstances['date']}; "
        f"{circumstances['machine']}; {versions}.\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    everything = {**circumstances, "measurements": data}
    (folder / f"{name}.json").write_text(json.dumps(everything, indent=1), encoding="utf-8")
    print(text)


def own_memory_mb() -> float:
    """Memory of this process that is not backed by a file, in megabytes."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1_024


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Sample of `own_memory_mb` during a `with` block, twenty a second."""
    samples, done = [own_memory_mb()], threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            samples.append(own_memory_mb())

    thread = threading.Thread(target=sample)
    thread.start()
    yield samples
    done.set()
    thread.join()
