"""Each recipe runs by itself."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
RECIPES = sorted(ROOT.glob("recipes/*.py"))
# To prepare a whole MobileNetV2 for training takes TensorFlow seconds, twice in most recipes.
RUNS = [
    pytest.param(each, marks=[] if each.stem == "small_similar" else pytest.mark.slow, id=each.stem)
    for each in RECIPES
]


def start(recipe, folder, *args):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", recipe, "--smoke", *args]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("recipe", RUNS)
def test_recipe_runs_and_leaves_nothing_behind(recipe, tmp_path):
    done = start(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_says_command_data_time_and_result(recipe):
    opening = recipe.read_text().split('"""')[1]
    assert f"python recipes/{recipe.name}" in opening
    assert all(f"\n{word}: " in opening for word in ("Data", "Time", "Result"))
    assert len(recipe.read_text().splitlines()) < 80
