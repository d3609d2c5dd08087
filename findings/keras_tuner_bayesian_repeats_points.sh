#!/usr/bin/env bash
# KerasTuner's Bayesian oracle tries finished points again, where its random and grid oracles do not.
#
# Guess before running: with 4 points in the space and 10 trials asked for, all three oracles stop
# after 4 different trials ("the oracle may interrupt the search before max_trials ... if the search
# space has been exhausted", says the documentation of each).
# Seen: grid stops after 4 and random after 4; Bayesian runs all 10, 6 of them repetitions.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# tensorboard: imported at run time and not declared by keras-tuner 1.4.8.
"$work/venv/bin/pip" install -q tensorflow==2.21.0 keras==3.15.1 keras-tuner==1.4.8 tensorboard \
    scikit-learn==1.7.2 scipy==1.16.3
cd "$work"
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import keras_tuner


def score_of(tuner_class):
    """A tuner of that kind whose trials are one formula instead of a training."""

    class Scored(tuner_class):
        def run_trial(self, trial, *args, **options):
            return {"loss": (trial.hyperparameters.get("depth") - 2) ** 2 / 10}

    return Scored


def tried(tuner_class):
    space = keras_tuner.HyperParameters()
    space.Choice("depth", [0, 2, 4, 6])
    tuner = score_of(tuner_class)(
        objective=keras_tuner.Objective("loss", "min"),
        hyperparameters=space,
        max_trials=10,
        directory="searches",
        project_name=tuner_class.__name__,
        **({} if tuner_class is keras_tuner.GridSearch else {"seed": 0}),
    )
    tuner.search(verbose=0)
    trials = tuner.oracle.trials.values()
    return [trial.hyperparameters.values["depth"] for trial in trials]


print(f"keras-tuner {keras_tuner.__version__}")
for tuner_class in (
    keras_tuner.GridSearch,
    keras_tuner.RandomSearch,
    keras_tuner.BayesianOptimization,
):
    depths = tried(tuner_class)
    print(f"{tuner_class.__name__}: {len(depths)} trials, {len(set(depths))} different")
    repeated = len(depths) - len(set(depths))
    assert (len(depths), repeated) == (
        (10, 6) if tuner_class is keras_tuner.BayesianOptimization else (4, 0)
    ), depths
PYTHON
