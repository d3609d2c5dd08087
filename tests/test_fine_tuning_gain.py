"""The benchmark of what trying to fine-tune gains: what it counts, and that it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fine_tuning_gain as benchmark
import pytest

from ktransfer.advisor.gains import Measured, expected_gain, measured

ROOT = Path(__file__).parents[1]


def run_of(name, *, half="choosing", gap=0.2, mistakes=0.3, head=0.7, tried=0.8):
    kept = {"name": "everything", "learning_rate": 5e-4, "outcome": "kept"}
    return {
        "set": name,
        "half": half,
        "seed": 0,
        "gap": gap,
        "mistakes": mistakes,
        "head": head,
        "tried": tried,
        "tries": [kept] if tried != head else [{**kept, "outcome": "no better"}],
        "head_s": 10.0,
        "tries_s": 50.0,
    }


def cells(report, name):
    (line,) = [each for each in report.splitlines() if each.startswith(f"| {name}, 0 ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_gain_is_what_the_tries_added_and_is_expected_by_other_sets():
    runs = [
        run_of("drawings"),
        run_of("sketches", tried=0.9),
        run_of("photos", gap=0.01, mistakes=0.1, head=0.9, tried=0.9),
        run_of("scans", half="reporting", tried=0.75),
    ]
    report = benchmark.report(runs)
    _, gap, mistakes, head, tried, kept, gain, expected, longer = cells(report, "drawings")
    assert (gap, mistakes, head, tried, gain) == ("0.200", "30.0", "70.0", "80.0", "**+10.0**")
    assert (kept, longer) == ("everything at 0.0005", "5.0")
    others = [Measured("sketches", 0.2, 0.3, 0.2), Measured("photos", 0.01, 0.1, 0.0)]
    wanted = expected_gain(0.2, 0.3, others)
    assert expected.startswith(f"{100 * wanted.mean:+.1f} (")
    assert cells(report, "photos")[5:7] == ["the head", "**+0.0**"]
    # What is reported is expected by all sets that were chosen by, and by none of its own.
    every = [benchmark.as_measured(run) for run in runs[:3]]
    assert cells(report, "scans")[7].startswith(f"{100 * expected_gain(0.2, 0.3, every).mean:+.1f}")
    assert "Always tried, the gain is +10.0 points in the mean (+0.0 to +20.0)" in report


def test_what_the_library_expects_is_what_the_results_say():
    results = json.loads((ROOT / "benchmarks/results/fine_tuning_gain.json").read_text())
    runs = results["measurements"]
    rows = [benchmark.as_measured(run) for run in runs if run["half"] == "choosing"]
    assert list(measured()) == rows


@pytest.mark.slow
def test_it_goes_on_from_what_is_known(tmp_path):
    file = tmp_path / "runs.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "benchmarks/fine_tuning_gain.py", "--smoke", "--runs", str(file)]
    command += ["--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    (row,) = map(json.loads, file.read_text().splitlines())
    assert 0 <= row["head"] <= 1
    assert {each["learning_rate"] for each in row["tries"]} == {3e-4, 5e-4, 1e-3}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    assert len(file.read_text().splitlines()) == 1
    # The weights "mini" remember no photos, so that there is no gap to tell by.
    assert row["gap"] is None
    assert "0 draws of 0 sets" in (tmp_path / "fine_tuning_gain.md").read_text()
