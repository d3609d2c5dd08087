"""What is done to files while they are read spoils no later run; the whole of it takes an hour."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_a_few_rounds_of_poison_change_no_later_run(tmp_path):
    command = [sys.executable, ROOT / "benchmarks/poison.py", "--smoke", "--out", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rounds = json.loads((tmp_path / "poison.json").read_text())["measurements"]
    assert [each["kind"] for each in rounds] == ["decided", "features", "augmented"]
    assert not any(each["differences"] for each in rounds)
    assert "| of these different from one with a fresh cache | 0 |" in done.stdout
