"""The main path on the JAX backend, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

JAX_PYTHON = os.environ.get("KTRANSFER_JAX_PYTHON")
ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
import keras
import numpy as np
from conftest import small_network
from ktransfer import FineTuner

pictures, run = sys.argv[1:]
tuner = FineTuner(small_network(), verbose=False)
before = [np.array(each) for each in tuner.backbone.blocks[0].layers[0].weights]
result = tuner.fit(pictures, plan="last_blocks", unfreeze=1, epochs=12, out=run,
                   balance="class_weights")
after = [np.array(each) for each in tuner.backbone.blocks[0].layers[0].weights]
losses = [row["loss"] for row in result.history]
print(json.dumps({
    "backend": keras.backend.backend(),
    "frozen": all(np.array_equal(one, other) for one, other in zip(before, after)),
    "movement": list(result.movement.values()),
    "fell": losses[-1] < losses[0],
    "accuracy": result.val_accuracy,
    "loaded": FineTuner.load(run, verbose=False).evaluate(pictures).accuracy,
}))
"""


@pytest.mark.jax
def test_last_block_is_trained_saved_and_loaded_on_jax(pictures, tmp_path):
    if not JAX_PYTHON and importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed; KTRANSFER_JAX_PYTHON may name a Python that has it")
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    done = subprocess.run(
        [JAX_PYTHON or sys.executable, "-c", SCRIPT, pictures, tmp_path / "run"],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["backend"] == "jax"
    assert found["frozen"]
    assert len(found["movement"]) == 1
    assert found["movement"][0] > 0
    assert found["fell"]
    assert found["loaded"] == found["accuracy"]
