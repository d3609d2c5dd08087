"""Each exercise runs by itself and has a page that shows what it said."""

import os
import subprocess
import sys

import documents
import pytest

FOLDER = documents.ROOT / "docs" / "exercises"
EXERCISES = sorted(FOLDER.glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.stem)
def test_exercise_runs_and_leaves_nothing_behind(exercise, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(documents.ROOT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", exercise, "--smoke"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda each: each.stem)
def test_exercise_has_a_page_with_a_real_run(exercise):
    page = exercise.with_suffix(".md")
    assert f"({exercise.name})" in page.read_text()
    assert any("a run on 20" in block.title for block in documents.blocks_of(page))
    assert f"python docs/exercises/{exercise.name}" in exercise.read_text().split('"""')[1]
    assert f"({page.name})" in (FOLDER / "index.md").read_text()


def test_there_are_six_exercises():
    assert len(EXERCISES) == 6
