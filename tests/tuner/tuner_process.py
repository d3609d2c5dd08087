"""A chief or a worker of a search, as a process of its own: for the tests of several machines."""

import json
import sys
import time

import keras_tuner
import test_tuner

from ktransfer import InputError
from ktransfer.tuner.trial_process import TrialProcess


def points():
    """A grid of six points, none of which diverges."""
    space = keras_tuner.HyperParameters()
    space.Choice("unfreeze", [0, 1, 2])
    space.Choice("head_rate", [1e-2, 3e-2])
    for name, value in (
        ("head_epochs", 3),
        ("learning_rate", 1e-3),
        ("dropout", 0.0),
        ("weight_decay", 0.0),
        ("layer_decay", 1.0),
        ("batch_norm", "frozen"),
        ("augmentation", "none"),
    ):
        space.Fixed(name, value)
    return space


def make(folder, **options):
    chosen = {"hyperparameters": points(), "oracle": "grid", "repeats": 0, "verbose": True}
    return test_tuner.make(folder, **{**chosen, **options})


def slow_down(seconds):
    """Makes each trial take longer, so that a signal meets it in the middle."""
    run = TrialProcess.run

    def slow(self, job):
        time.sleep(seconds)
        return run(self, job)

    TrialProcess.run = slow


def main(folder, photos, options):
    given = json.loads(options)
    slow_down(given.pop("slow", 0.0))
    try:
        tuner = make(folder, **given)
        result = tuner.search(photos)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps(result.to_dict() if result else {"carried_out": tuner.num_carried_out}))


if __name__ == "__main__":
    main(*sys.argv[1:])
